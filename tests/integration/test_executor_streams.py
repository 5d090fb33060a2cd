"""Streams of a real session: whatever is printed, and however it is read, nothing goes missing."""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.executor.log import CHUNK_BYTES, KEPT_BYTES
from services.executor.messages import (
    Event,
    ExecutionStatus,
    Finished,
    Gap,
    Output,
    OutputStream,
)
from tests.support.sessions import Desk, Run

PROGRAM = """
import os, subprocess, sys, time
for way, to, text, times, flush, pieces, pause in {steps}:
    stream = sys.stdout if to == 1 else sys.stderr
    data = text.encode()
    if way in ("buffer", "os", "program"):
        # What is above must not be overtaken by what is below.
        stream.flush()
    for number in range(times):
        if way == "print":
            print(text, file=stream, flush=flush)
        elif way == "write":
            stream.write(text)
        elif way == "buffer":
            stream.buffer.write(data)
        elif way == "os":
            size = len(data) // pieces + 1
            for start in range(0, len(data), size):
                part = data[start : start + size]
                while part:
                    part = part[os.write(to, part) :]
                if pause and number == 0:
                    time.sleep(pause / 1000)
        else:
            subprocess.run(["cat"], input=data, stdout=to, check=True)
        if flush:
            stream.flush()
        if pause and number < 3:
            time.sleep(pause / 1000)
"""
WAYS = ("print", "write", "buffer", "os", "program")
UNITS = ("x", "é", "漢字", "😀", "a\u0301\r\n", "\x00\x1b[0m", "\ufeff", "0123456789" * 7)
LARGEST = 200_000
KEEPER = "0-0"
"""The first reader, whom the execution expects from its first event on."""


@dataclass(frozen=True)
class Step:
    """Text that a program prints in one of the ways there are."""

    way: str
    to: int
    text: str
    times: int = 1
    flush: bool = False
    pieces: int = 1
    pause: int = 0

    @property
    def printed(self) -> str:
        """All that comes of it."""
        return (self.text + "\n" * (self.way == "print")) * self.times


@dataclass(frozen=True)
class Reader:
    """Somebody who reads, in her own way: numbers of a tuple are taken in turn."""

    comes: str
    """`first`, while it is queued; `later`, once there is output; `last`, after the end."""
    known: bool = True
    """Whether she gives her id, so that output waits for her."""
    stays: int = 0
    """Reads after which she leaves, to come again under another id; 0 for never."""
    stalls: tuple[int, ...] = (0,)
    """Milliseconds between reads."""
    pages: tuple[int, ...] = (256 * 1024,)
    """Most bytes of a read."""

    @property
    def keeps_up(self) -> bool:
        """Whether nothing may be dropped before she has had it."""
        return self.comes == "first" and self.known and not self.stays


def _text(unit: str, size: int) -> str:
    """Repeat a unit to about so many bytes."""
    return unit * max(1, size // len(unit.encode()))


TEXTS = st.builds(_text, st.sampled_from(UNITS), st.integers(1, 100) | st.integers(1, LARGEST))
STEPS = st.lists(
    st.builds(
        Step,
        way=st.sampled_from(WAYS),
        to=st.sampled_from([1, 2]),
        text=TEXTS,
        times=st.sampled_from([1, 1, 1, 1, 2, 5, 50]),
        flush=st.booleans(),
        pieces=st.integers(1, 20),
        pause=st.just(0) | st.integers(1, 20),
    ),
    min_size=1,
    max_size=8,
)


def _reader(*comes: str) -> st.SearchStrategy[Reader]:
    return st.builds(
        Reader,
        comes=st.sampled_from(comes),
        known=st.booleans(),
        stays=st.sampled_from([0, 0, 1, 3]),
        stalls=st.lists(st.just(0) | st.integers(1, 50), min_size=1, max_size=4).map(tuple),
        pages=st.lists(st.just(1) | st.integers(1, 1024 * 1024), min_size=1, max_size=3).map(tuple),
    )


FIRST = st.builds(Reader, comes=st.just("first")) | _reader("first", "later", "last")
READERS = st.builds(
    lambda first, others: (first, *others),
    FIRST,
    st.lists(_reader("later", "last"), max_size=2),
)
FLOOD = [Step(way="os", to=1 + n % 2, text=_text(f"{n:02}é", LARGEST), times=4) for n in range(16)]
"""More than is kept for readers that come late."""
EVERY_WAY = [
    Step(way=way, to=to, text=_text(unit, 5000), pieces=7, pause=2, flush=flush)
    for flush in (False, True)
    for way in WAYS
    for to, unit in ((1, "漢"), (2, "😀"))
]


async def read(desk: Desk, execution: str, number: int, reader: Reader) -> Run:
    """Read an execution's events to the last, as this reader does."""
    if reader.comes == "later":
        await desk.until(execution, lambda event: isinstance(event, Output))
    elif reader.comes == "last":
        await desk.ended(execution)
    events: list[Event] = []
    after = reads = visits = 0
    while True:
        batch = await desk.executor.read(
            desk.id,
            execution,
            after,
            max_bytes=reader.pages[reads % len(reader.pages)],
            reader_id=f"{number}-{visits}" if reader.known else "",
        )
        events += batch.events
        if batch.ended:
            return Run(tuple(events))
        after = events[-1].seq if events else 0
        reads += 1
        if reader.stays and reads % reader.stays == 0:
            await desk.executor.leave(desk.id, execution, f"{number}-{visits}")
            visits += 1
        await asyncio.sleep(reader.stalls[reads % len(reader.stalls)] / 1000)


async def run(desk: Desk, steps: Sequence[Step], readers: Sequence[Reader]) -> list[Run]:
    """Run a program and return what each reader got."""
    expected = KEEPER if readers[0].comes == "first" and readers[0].known else ""
    code = PROGRAM.format(steps=[astuple(step) for step in steps])
    execution = await desk.submit(code, timeout_seconds=60, reader_id=expected)
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(read(desk, execution, number, reader))
            for number, reader in enumerate(readers)
        ]
    # As a recorder does: a session waits for it once too much is unrecorded.
    await desk.recorded()
    return [task.result() for task in tasks]


def numbered(got: Run) -> None:
    """Check that each number came once, by itself or in one gap."""
    last = 0
    for event in got.events:
        assert (event.from_seq if isinstance(event, Gap) else event.seq) == last + 1
        last = event.seq


def pieces(got: Run, stream: OutputStream) -> list[str]:
    """Return what came of a stream, cut where gaps are."""
    texts = [""]
    for event in got.events:
        if isinstance(event, Gap):
            texts.append("")
        elif isinstance(event, Output) and event.stream is stream:
            texts[-1] += event.text
    return texts


def fits(printed: str, parts: Sequence[str]) -> bool:
    """Whether the parts are what was printed, in order, with nothing but gaps between."""
    if len(parts) == 1:
        return printed == parts[0]
    place = 0
    for part in parts[:-1]:
        found = printed.find(part, place)
        if found < 0 or (place == 0 and part is parts[0] and found > 0):
            return False
        place = found + len(part)
    return printed.endswith(parts[-1]) and len(printed) - len(parts[-1]) >= place


def sizes(got: Run) -> dict[int, int]:
    """Return the bytes of output in each event."""
    return {e.seq: len(e.text.encode()) if isinstance(e, Output) else 0 for e in got.events}


async def holds(desk: Desk, steps: Sequence[Step], readers: Sequence[Reader]) -> None:
    """Check that readers get what is printed, or are told how much of it they do not get."""
    printed = {
        stream: "".join(step.printed for step in steps if step.to == to)
        for to, stream in enumerate(OutputStream, start=1)
    }
    total = sum(len(text.encode()) for text in printed.values())
    runs = await run(desk, steps, readers)

    seen: dict[int, Event] = {}
    for reader, got in zip(readers, runs, strict=True):
        got.succeeded()
        numbered(got)
        assert sum(sizes(got).values()) + got.dropped == total
        for stream, text in printed.items():
            assert fits(text, pieces(got, stream)), (stream, [len(p) for p in pieces(got, stream)])
        if reader.keeps_up:
            assert got.dropped == 0
        for event in got.events:
            assert isinstance(event, Gap) or seen.setdefault(event.seq, event) == event
    for whole in (got for got in runs if not any(isinstance(e, Gap) for e in got.events)):
        known = sizes(whole)
        for gap in (event for got in runs for event in got.events if isinstance(event, Gap)):
            lost = sum(known[seq] for seq in range(gap.from_seq, gap.seq + 1))
            assert gap.dropped_bytes == lost


@settings(max_examples=10, deadline=None, derandomize=True)
@given(STEPS, READERS)
@example(EVERY_WAY, (Reader("first"), Reader("later", stays=1, pages=(1,))))
@example(FLOOD, (Reader("first", stalls=(0, 5)), Reader("later", stays=3), Reader("last")))
@example(FLOOD, (Reader("first", stays=1, stalls=(50,)), Reader("later", known=False)))
async def test_readers_get_what_is_printed(
    desk: Desk, steps: list[Step], readers: tuple[Reader, ...]
) -> None:
    """Every byte is read in its order or told of as dropped; who keeps up misses none."""
    await holds(desk, steps, readers)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS, READERS)
async def test_many_readers_get_what_many_programs_print(
    desk: Desk, steps: list[Step], readers: tuple[Reader, ...]
) -> None:
    """The same of two hundred programs and their readers."""
    await holds(desk, steps, readers)


async def test_a_reader_that_comes_after_a_flood_is_told_what_is_gone(desk: Desk) -> None:
    """Readers after the end get one gap, which says how many bytes, and then the exact rest."""
    late = Reader("last", pages=(100_000,))
    [one, two] = await run(desk, FLOOD, (late, Reader("last", known=False)))
    gaps = [event for event in one.events if isinstance(event, Gap)]
    after = [event for event in one.events if event.seq > gaps[0].seq]
    printed = [step.printed for step in FLOOD]

    assert len(gaps) == 1
    assert gaps[0].dropped_bytes + sum(sizes(one).values()) == sum(map(len, map(_bytes, printed)))
    assert {type(event) for event in after} == {Output, Finished}
    assert all(later.seq == event.seq + 1 for event, later in pairwise(after))
    assert "".join(printed[::2]).endswith(one.stdout)
    assert "".join(printed[1::2]).endswith(one.stderr)
    assert [e for e in one.events if e.seq > gaps[0].seq] == [
        e for e in two.events if e.seq > gaps[0].seq
    ]


def _bytes(text: str) -> bytes:
    return text.encode()


@pytest.mark.long
async def test_an_interrupt_does_not_wait_for_a_slow_reader(desk: Desk) -> None:
    """Code that prints faster than somebody reads ends by an interrupt, and its state stays."""
    (await desk.run("stays = 'here'")).succeeded()
    code = f"import os\nwhile True: os.write(1, b'x' * {CHUNK_BYTES})"
    execution = await desk.submit(code, timeout_seconds=60, reader_id="slow")
    seen = 0
    ended = asyncio.create_task(desk.ended(execution))
    interrupted = False
    while not ended.done():
        batch = await desk.executor.read(
            desk.id, execution, seen, max_bytes=1, wait_seconds=0, reader_id="slow"
        )
        seen = batch.events[-1].seq if batch.events else seen
        record = await desk.executor.record(desk.id, execution)
        if not interrupted and record.last_seq - seen > KEPT_BYTES // CHUNK_BYTES * 0.9:
            interrupted = True
            await desk.executor.interrupt(desk.id, execution)
        await asyncio.sleep(0.1)
    record = await ended
    after = await desk.run("print('stays' in globals())")

    assert record.status is ExecutionStatus.INTERRUPTED
    assert (record.interpreter_restarted, after.stdout) == (False, "True\n")
