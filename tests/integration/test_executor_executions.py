"""Executions of a session: in their order, ended in time or when asked, read alike by all."""

import asyncio
import time
import uuid

import pytest

from services.executor.errors import QueueFullError
from services.executor.messages import (
    Errored,
    ExecuteRequest,
    ExecutionStatus,
    Finished,
    Gap,
    Queued,
    SessionLimits,
)
from tests.support.sessions import BUSY, Desk, Lab, until

TIMED_OUT, INTERRUPTED = ExecutionStatus.TIMED_OUT, ExecutionStatus.INTERRUPTED
ENDED_WITHIN_SECONDS = 3.0
"""Of the limit, on a machine that does nothing else."""
STUBBORN = """
said = []
while True:
    try:
        if not said: said.append(1); print('up', flush=True)
        while True: pass
    except {}: pass
"""


ENDLESS = [
    BUSY,
    "print('up', flush=True)\nimport time; time.sleep(1000)",
    "print('up', flush=True)\ninput()",
    "print('up', flush=True)\n!sleep 1000",
    "print('up', flush=True)\nimport asyncio\nawait asyncio.sleep(1000)",
    STUBBORN.format("BaseException"),
    "print('up', flush=True)\nimport re; re.match('(a*)*b', 'a' * 64)",
    "print('up', flush=True)\nimport os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
]


@pytest.mark.parametrize("code", ENDLESS)
async def test_code_over_its_limit_is_ended(desk: Desk, code: str) -> None:
    """Whatever it does, code ends with its limit, with its output until then."""
    run = await desk.run(code, timeout_seconds=1)

    assert run.status is TIMED_OUT
    assert run.finished.exit_code == 124
    assert run.finished.interpreter_restarted
    assert run.stdout == "up\n"
    assert run.error.name == "TimeoutError"
    assert "timeoutSeconds" in run.error.value
    assert await desk.value("6 * 7") == "42"


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("code", ENDLESS)
async def test_code_over_its_limit_is_ended_at_once(desk: Desk, code: str) -> None:
    """Nobody waits for it longer than the product says."""
    began = time.monotonic()
    run = await desk.run(code, timeout_seconds=1)
    took = time.monotonic() - began

    assert run.status is TIMED_OUT
    assert run.finished.duration_ms < 1000 * (1 + ENDED_WITHIN_SECONDS)
    assert took < 1 + ENDED_WITHIN_SECONDS


@pytest.mark.parametrize(
    ("code", "restarted"),
    [
        (BUSY, False),
        ("print('up', flush=True)\nimport time; time.sleep(1000)", False),
        ("print('up', flush=True)\ninput('?')", False),
        ("print('up', flush=True)\nimport asyncio\nawait asyncio.sleep(1000)", False),
        ("print('up', flush=True)\n!sleep 1000", False),
        (STUBBORN.format("KeyboardInterrupt"), True),
        (
            "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + BUSY,
            True,
        ),
    ],
)
async def test_an_interrupt_ends_the_code(desk: Desk, code: str, restarted: bool) -> None:  # noqa: FBT001
    """Code meets a KeyboardInterrupt and keeps its state; code that resists is ended."""
    (await desk.run("kept = 1")).succeeded()
    execution = await desk.submit(code)
    await desk.until_printed(execution, "up")
    await desk.executor.interrupt(desk.id, execution)
    run = await desk.follow(execution)

    assert run.status is INTERRUPTED, run.events
    assert run.finished.exit_code == 130
    assert run.finished.interpreter_restarted == restarted
    assert run.error.name == "KeyboardInterrupt"
    after = await desk.run("kept")
    assert (after.status is ExecutionStatus.SUCCEEDED) == (not restarted)
    assert (await desk.executor.interrupt(desk.id, execution)).status is INTERRUPTED


async def test_code_that_cleans_up_after_an_interrupt(desk: Desk) -> None:
    """Code that ends by itself after an interrupt keeps its own result and its state."""
    execution = await desk.submit(
        "import time\nprint('up', flush=True)\ntry: time.sleep(1000)\n"
        "except KeyboardInterrupt: print('cleaned')\n'done'"
    )
    await desk.until_printed(execution, "up")
    await desk.executor.interrupt(desk.id, execution)
    run = await desk.follow(execution)

    assert run.succeeded().stdout == "up\ncleaned\n"
    assert run.result == "'done'"


async def test_interrupts_at_any_moment_leave_the_interpreter_well(desk: Desk) -> None:
    """An interrupt that meets the end of its code, or comes after it, harms no later code."""
    for number in range(30):
        execution = await desk.submit("import time; time.sleep(0.01)")
        await asyncio.sleep(0.0008 * number)
        await desk.executor.interrupt(desk.id, execution)
        record = await desk.ended(execution)
        assert record.status in (INTERRUPTED, ExecutionStatus.SUCCEEDED)
        assert await desk.value(f"{number}") == str(number)


async def test_the_queue_is_first_in_first_out(desk: Desk) -> None:
    """Executions run one at a time in the order in which they came, and say their position."""
    first = await desk.submit("order = []\nimport time; time.sleep(0.3)")
    rest = [await desk.submit(f"order.append({number})") for number in range(5)]
    runs = [await desk.follow(execution) for execution in rest]

    assert (await desk.ended(first)).status is ExecutionStatus.SUCCEEDED
    assert [run.events[0] for run in runs] == [
        Queued(1, run.events[0].at, position + 1) for position, run in enumerate(runs)
    ]
    assert await desk.value("order") == "[0, 1, 2, 3, 4]"


async def test_the_queue_has_a_bound(lab: Lab) -> None:
    """One over the queue's bound is refused by its limit; a place that is free is given."""
    desk = await lab.start(limits=SessionLimits(queue_length=2))
    running = await desk.submit(BUSY)
    await desk.until_printed(running, "up")
    queued = [await desk.submit("1") for _ in range(2)]
    with pytest.raises(QueueFullError) as raised:
        await desk.submit("1")
    assert raised.value.details["limit"] == 2
    waiting = await desk.executor.interrupt(desk.id, queued[0])
    assert waiting.status is INTERRUPTED
    assert waiting.started_at is None
    await desk.submit("1")
    await desk.executor.restart(desk.id)

    assert (await desk.ended(queued[1])).status is INTERRUPTED
    assert await desk.value("6 * 7") == "42"


async def test_an_execution_taken_off_the_queue_never_runs(desk: Desk) -> None:
    """Interrupting what is queued ends it INTERRUPTED, without a start."""
    running = await desk.submit(BUSY)
    queued = await desk.submit("print('never')")
    await desk.executor.interrupt(desk.id, queued)
    run = await desk.follow(queued)
    await desk.executor.interrupt(desk.id, running)

    assert [type(event) for event in run.events] == [Queued, Errored, Finished]
    assert (await desk.ended(running)).status is INTERRUPTED


async def test_the_same_id_runs_once(desk: Desk) -> None:
    """Sending an execution again attaches to it: the code runs once, events come again."""
    (await desk.run("count = 0")).succeeded()
    request = ExecuteRequest(str(uuid.uuid4()), "count += 1; print(count)", 30)
    await asyncio.gather(*(desk.executor.execute(desk.id, request) for _ in range(5)))
    run = await desk.follow(request.execution_id)
    await desk.executor.execute(desk.id, request)

    assert run == await desk.follow(request.execution_id)
    assert await desk.value("count") == "1"


async def test_a_restart_clears_the_state(desk: Desk) -> None:
    """What runs and what is queued end INTERRUPTED; files stay, variables and daemons go."""
    (await desk.run("gone = 1; open('stays', 'w').close()")).succeeded()
    running = await desk.submit(BUSY)
    await desk.until_printed(running, "up")
    queued = await desk.submit("1")
    await desk.executor.restart(desk.id)
    records = [await desk.executor.record(desk.id, one) for one in (running, queued)]

    assert [record.status for record in records] == [INTERRUPTED] * 2
    assert all(record.interpreter_restarted for record in records)
    assert (await desk.run("gone")).error.name == "NameError"
    assert await desk.value("import os; os.path.exists('stays')") == "True"


async def test_readers_of_one_execution_see_the_same(desk: Desk) -> None:
    """Several readers, early and late, get equal events, every byte once."""
    code = "for n in range(3000): print(n, flush=True)"
    execution = await desk.submit(code, reader_id="a")
    runs = await asyncio.gather(*(desk.follow(execution, reader_id=name) for name in "abc"))
    late = await desk.follow(execution)
    resumed = await desk.follow(execution, after=runs[0].events[2].seq)

    assert runs[0].stdout == "".join(f"{n}\n" for n in range(3000))
    assert runs[0] == runs[1] == runs[2] == late
    assert resumed.events == runs[0].events[3:]


async def test_a_reader_gets_every_byte_of_a_flood(desk: Desk) -> None:
    """A reader that keeps up loses nothing of more output than is kept."""
    code = "import os\nfor n in range(640): os.write(1, b'%06d ' % n * 9362)"
    run = await desk.run(code)

    assert not any(isinstance(event, Gap) for event in run.events)
    assert run.succeeded().stdout == "".join(f"{n:06d} " * 9362 for n in range(640))


async def test_output_after_the_end_belongs_to_the_record(desk: Desk) -> None:
    """What a thread prints after its cell's end is in the record, which is given again."""
    execution = await desk.submit(
        "import threading, time\ndef late():\n    go.wait(); print('late', flush=True)\n"
        "go = threading.Event(); thread = threading.Thread(target=late); thread.start()\n"
        "threading.Timer(0.3, go.set).start()"
    )
    await desk.ended(execution)

    async def printed() -> bool:
        return "late" in (await desk.executor.record(desk.id, execution)).stdout

    await until(printed)

    assert [one.stdout for one in await desk.recorded() if one.execution_id == execution] == [
        "late\n"
    ]


async def test_looking_at_a_session_takes_nothing_from_its_recorder(desk: Desk) -> None:
    """Output that came after a record was given is given still, whoever has looked meanwhile."""
    await desk.recorded()
    execution = await desk.submit(
        "import os, threading, time\ndef late():\n    while not os.path.exists('go'):\n"
        "        time.sleep(0.01)\n    print('late', flush=True)\n"
        "threading.Thread(target=late).start()"
    )
    await desk.ended(execution)
    given = await desk.executor.collect(desk.id, (), 0, wait_seconds=0)
    await desk.executor.write_file(desk.id, "go", b"")

    async def printed() -> bool:
        return "late" in (await desk.executor.record(desk.id, execution)).stdout

    await until(printed)
    looked = await desk.executor.state(desk.id)
    version = given.packages_version
    again = await desk.executor.collect(desk.id, [execution], version, wait_seconds=30)

    assert [one.stdout for one in given.ended] == [""]
    assert (looked.packages, looked.busy) == ((), False)
    assert [one.stdout for one in again.ended] == ["late\n"]


async def test_code_whose_record_is_being_written_runs_and_is_not_recorded(desk: Desk) -> None:
    """Until somebody asks for it, who has its id from the record; not whoever gives it again."""
    await desk.recorded()
    code, execution = "open('ran', 'w').close()", str(uuid.uuid4())
    for _ in range(2):
        request = ExecuteRequest(execution, code, 30.0, on_record=False)
        await desk.executor.execute(desk.id, request)

    async def ran() -> bool:
        return await desk.executor.file_info(desk.id, "ran") is not None

    await until(ran)
    before = await desk.executor.collect(desk.id, (), 0, wait_seconds=0.5)
    ended = await desk.ended(execution)
    after = await desk.executor.collect(desk.id, (), 0, wait_seconds=30)

    assert [one.execution_id for one in before.ended] == []
    assert ended.status is ExecutionStatus.SUCCEEDED
    assert [one.execution_id for one in after.ended] == [execution]


async def test_a_session_on_this_machine_is_near_until_it_ends(lab: Lab) -> None:
    """As far as is known without asking it."""
    desk = await lab.start()
    before = desk.executor.is_near(desk.id)
    await desk.value("1")
    during = desk.executor.is_near(desk.id)
    await desk.executor.stop(desk.id, None)

    async def far() -> bool:
        return not desk.executor.is_near(desk.id)

    await until(far)
    assert (before, during) == (False, True)
