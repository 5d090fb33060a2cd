"""The events of an execution, as several readers see them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.executor import log as log_module
from services.executor.log import CHUNK_BYTES, EVENT_BYTES, EventLog
from services.executor.messages import (
    Cleared,
    Display,
    DisplayData,
    Event,
    ExecutionStatus,
    Finished,
    Gap,
    Output,
    OutputStream,
    Queued,
    Started,
)

OUT, ERR = OutputStream.STDOUT, OutputStream.STDERR
ALL = 2**60


def finish(log: EventLog) -> None:
    """Add the last event."""
    log.add(lambda seq, at: Finished(seq, at, ExecutionStatus.SUCCEEDED, 0, 1.0, False))  # noqa: FBT003


def show(log: EventLog, text: str) -> None:
    """Add a display."""
    data = DisplayData({"text/plain": text}, is_result=False)
    log.add(lambda seq, at: Display(seq, at, data), len(text.encode()))


async def rest(log: EventLog, after: int = 0) -> list[Event]:
    """Return all that is kept after a position."""
    return list(await log.read(after, ALL, 0))


def text_of(events: list[Event]) -> str:
    """Join the output in events."""
    return "".join(event.text for event in events if isinstance(event, Output))


async def pages(log: EventLog, max_bytes: int, reader_id: str = "") -> AsyncIterator[Event]:
    """Read to the end, a page at a time."""
    after = 0
    while True:
        events = await log.read(after, max_bytes, 0, reader_id)
        if not events:
            return
        for event in events:
            yield event
        after = events[-1].seq


def covered(events: list[Event], after: int = 0) -> int:
    """Check that events and gaps follow each other without a hole; return the last number."""
    for event in events:
        first = event.from_seq if isinstance(event, Gap) else event.seq
        assert first == after + 1, events
        after = event.seq
    return after


async def test_text_that_nobody_has_read_is_one_chunk() -> None:
    """Writes of one stream are merged until somebody reads or another kind of event comes."""
    log = EventLog()
    for word in ("a", "b", "c"):
        log.output(OUT, word)
    log.output(ERR, "d")
    log.output(OUT, "e")
    show(log, "x")
    log.output(OUT, "f")

    events = await rest(log)
    assert [(type(event), getattr(event, "text", None)) for event in events] == [
        (Output, "abc"),
        (Output, "d"),
        (Output, "e"),
        (Display, None),
        (Output, "f"),
    ]
    assert covered(events) == log.last_seq == 5


async def test_what_was_read_is_not_changed_by_more_text() -> None:
    """A chunk that a reader was given keeps its number and its text for every reader."""
    log = EventLog()
    log.output(OUT, "a")
    first = await rest(log)
    log.output(OUT, "b")

    assert await rest(log) == [*first, *await rest(log, first[-1].seq)]
    assert text_of(await rest(log)) == "ab"


async def test_a_chunk_has_a_bound() -> None:
    """No chunk is longer than its bound, however long the text that was written."""
    log = EventLog()
    text = "".join(chr(0x1F600 + n % 50) for n in range(3 * CHUNK_BYTES + 17))
    log.output(OUT, text)
    events = await rest(log)

    assert max(len(event.text) for event in events if isinstance(event, Output)) <= CHUNK_BYTES
    assert text_of(events) == text


async def test_a_page_ends_at_its_bytes_and_the_next_goes_on() -> None:
    """Reading page by page gives every event once, in order."""
    log = EventLog()
    log.add(lambda seq, at: Queued(seq, at, 0))
    for number in range(200):
        log.output(OUT if number % 2 else ERR, f"{number} " * 50)
    finish(log)

    paged = [event async for event in pages(log, 1000)]
    assert paged == await rest(log)
    assert len(await log.read(0, 1, 0)) == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["out", "err", "show", "clear"]), st.integers(0, 3000)),
        max_size=60,
    ),
    st.integers(0, 20_000),
    st.integers(0, 40),
    st.integers(1, 5000),
)
async def test_events_and_gaps_leave_no_hole_and_count_every_byte(
    steps: list[tuple[str, int]], kept: int, position: int, page: int
) -> None:
    """Whatever is dropped, a reader at any position gets each number once or in one gap."""
    log, full = EventLog(kept), EventLog(ALL)
    for one in (log, full):
        one.add(Started)
        for kind, size in steps:
            text = "é" * size if kind == "err" else "x" * size
            if kind == "show":
                show(one, text)
            elif kind == "clear":
                one.add(lambda seq, at: Cleared(seq, at, wait=False))
            else:
                one.output(OUT if kind == "out" else ERR, text)
        finish(one)
    position = min(position, log.last_seq)

    everything = await rest(full)
    seen = await rest(log, position)
    by_number = {event.seq: event for event in everything}
    assert covered(seen, position) == full.last_seq
    for event in seen:
        if isinstance(event, Gap):
            lost = [by_number[seq] for seq in range(event.from_seq, event.seq + 1)]
            assert all(isinstance(one, Output | Display) for one in lost)
            assert event.dropped_bytes == sum(_size(one) for one in lost)
        else:
            assert type(event) is type(by_number[event.seq])
            assert getattr(event, "text", "") == getattr(by_number[event.seq], "text", "")
    assert covered([event async for event in pages(log, page)]) == full.last_seq


def _size(event: Event) -> int:
    if isinstance(event, Output):
        return len(event.text.encode())
    assert isinstance(event, Display)
    return len(str(event.data.bundle["text/plain"]))


async def test_memory_is_bounded_where_nobody_reads() -> None:
    """A flood without a reader keeps no more than the bound, and does not wait."""
    log = EventLog(kept_bytes=100_000)
    for _ in range(100):
        log.output(OUT, "x" * CHUNK_BYTES)
        await log.writable()
        assert log.weight <= 100_000
    finish(log)

    events = await rest(log)
    dropped = sum(event.dropped_bytes for event in events if isinstance(event, Gap))
    assert dropped + len(text_of(events)) == 100 * CHUNK_BYTES


async def test_the_producer_waits_for_a_reader_that_keeps_up() -> None:
    """With a reader who asks again and again, nothing is dropped however small the bound."""
    log = EventLog(kept_bytes=3 * CHUNK_BYTES)
    log.expect("reader")
    chunks = 100

    async def produce() -> None:
        for number in range(chunks):
            log.output(OUT, f"{number % 10}" * CHUNK_BYTES)
            await log.writable()
            assert log.weight <= 5 * (CHUNK_BYTES + EVENT_BYTES)
        finish(log)

    producer = asyncio.create_task(produce())
    events: list[Event] = []
    while not events or not isinstance(events[-1], Finished):
        after = events[-1].seq if events else 0
        events += await log.read(after, CHUNK_BYTES, 10.0, "reader")
        await asyncio.sleep(0)
    await producer

    assert text_of(events) == "".join(f"{number % 10}" * CHUNK_BYTES for number in range(chunks))


async def test_the_slowest_of_several_readers_is_waited_for() -> None:
    """Two readers at different positions both get every byte."""
    log = EventLog(kept_bytes=CHUNK_BYTES)
    log.expect("slow")
    log.expect("fast")

    async def read(reader_id: str, page: int) -> str:
        text, after = "", 0
        while True:
            events = await log.read(after, page, 10.0, reader_id)
            text += text_of(list(events))
            if isinstance(events[-1], Finished):
                return text
            after = events[-1].seq

    async def produce() -> None:
        for number in range(50):
            log.output(OUT if number % 2 else ERR, f"{number:03}" * 5000)
            await log.writable()
        finish(log)

    slow, fast, _ = await asyncio.gather(read("slow", 1), read("fast", ALL), produce())
    assert slow == fast == "".join(f"{number:03}" * 5000 for number in range(50))


async def test_a_silent_reader_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has asked for nothing for a while loses the oldest, and is told of it."""
    monkeypatch.setattr(log_module, "SILENT_SECONDS", 0.05)
    log = EventLog(kept_bytes=CHUNK_BYTES)
    log.expect("gone to lunch")
    for _ in range(10):
        log.output(OUT, "x" * CHUNK_BYTES)
        await log.writable()
    finish(log)

    events = list(await log.read(0, ALL, 0, "gone to lunch"))
    assert covered(events) == log.last_seq
    assert any(isinstance(event, Gap) for event in events)


async def test_nobody_waits_for_a_reader_who_left() -> None:
    """Leaving frees a producer that waits for this reader, and ends the reader's own wait."""
    log = EventLog(kept_bytes=CHUNK_BYTES)
    log.expect("reader")
    for _ in range(5):
        log.output(OUT, "x" * CHUNK_BYTES)
    producer = asyncio.create_task(log.writable())
    waiting = asyncio.create_task(log.read(ALL, 1, 60.0, "reader"))
    await asyncio.sleep(0)
    assert not producer.done()
    log.leave("reader")
    log.leave("reader")

    async with asyncio.timeout(1):
        assert await waiting == ()
        await producer
    assert log.weight <= CHUNK_BYTES


async def test_a_producer_that_is_being_ended_waits_for_nobody() -> None:
    """After `hurry`, a producer goes on at once, though a reader has not caught up."""
    log = EventLog(kept_bytes=CHUNK_BYTES)
    log.expect("reader")
    for _ in range(5):
        log.output(OUT, "x" * CHUNK_BYTES)
    producer = asyncio.create_task(log.writable())
    await asyncio.sleep(0)
    log.hurry()

    async with asyncio.timeout(1):
        await producer
    assert covered(await rest(log)) == log.last_seq


async def test_a_shrunk_log_keeps_what_may_not_be_dropped() -> None:
    """After `shrink`, a late reader gets a gap for the text, and every other event."""
    log = EventLog()
    log.add(lambda seq, at: Queued(seq, at, 0))
    log.add(Started)
    log.output(OUT, "x" * 1000)
    show(log, "y" * 50)
    log.add(lambda seq, at: Cleared(seq, at, wait=True))
    log.output(OUT, "z" * 10)
    finish(log)
    log.shrink()

    events = await rest(log)
    assert [type(event) for event in events] == [Queued, Started, Gap, Cleared, Gap, Finished]
    assert [event.dropped_bytes for event in events if isinstance(event, Gap)] == [1050, 10]
    assert covered(events) == log.last_seq
    assert log.weight == 0


async def test_a_reader_is_woken_by_news_and_by_the_end() -> None:
    """A waiting reader gets the next event as it comes, and nothing once all has ended."""
    log = EventLog()
    reader = asyncio.create_task(log.read(0, ALL, 60.0))
    await asyncio.sleep(0)
    log.output(OUT, "a")
    assert text_of(list(await reader)) == "a"
    reader = asyncio.create_task(log.read(1, ALL, 60.0))
    await asyncio.sleep(0)
    finish(log)

    assert isinstance((await reader)[0], Finished)
    assert await log.read(2, ALL, 60.0) == ()
    assert await log.read(ALL, ALL, 60.0) == ()


async def test_a_wait_that_runs_out_returns_nothing() -> None:
    """A reader whose wait runs out gets no event and no error."""
    assert await EventLog().read(0, ALL, 0.01) == ()
