"""Sessions of a real executor: queue, limits of time, interrupts, restarts, their life."""

import asyncio
import os
import signal
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from services.executor import cluster
from services.executor.errors import (
    NoCapacityError,
    NotWaitingError,
    QueueFullError,
    SandboxStartError,
    SessionGoneError,
    UnknownExecutionError,
)
from services.executor.local import SOCKET, LocalCalls
from services.executor.messages import (
    Errored,
    ExecuteRequest,
    ExecutionStatus,
    Finished,
    Gap,
    InputRequested,
    InstallRequest,
    Queued,
    SessionLimits,
)
from services.executor.rayagents import ACTOR_NAMESPACE, ACTOR_PREFIX
from services.executor.rpc import RpcConnection
from services.executor.storage import session_folder
from tests.support.sessions import Desk, Lab, until
from tests.support.stack import docker

TIMED_OUT, INTERRUPTED = ExecutionStatus.TIMED_OUT, ExecutionStatus.INTERRUPTED
ENDED_WITHIN_SECONDS = 3.0
"""Of the limit, as the issue has it."""
CAPACITY_SECONDS = 15.0
BUSY = "print('up', flush=True)\nwhile True: pass"
STUBBORN = """
print('up', flush=True)
while True:
    try:
        while True: pass
    except {}: pass
"""


async def test_starting_again_answers_as_it_is(desk: Desk) -> None:
    """A session that runs is not started twice: it keeps its state and its age."""
    (await desk.run("kept = 1")).succeeded()
    first = await desk.executor.start(desk.spec)
    second = await asyncio.gather(*(desk.executor.start(desk.spec) for _ in range(5)))

    assert {info.started_at for info in second} == {first.started_at}
    assert await desk.value("kept") == "1"


async def test_several_starts_at_once_make_one_container(lab: Lab) -> None:
    """Racing starts of one session all succeed, with one actor and one container."""
    desk = lab.desk()
    infos = await asyncio.gather(*(desk.executor.start(desk.spec) for _ in range(4)))
    label = f"label=sandbox-api.session={desk.id}"

    assert len({info.started_at for info in infos}) == 1
    assert len(docker("ps", "--all", "--quiet", "--filter", label).split()) == 1
    await desk.executor.destroy(desk.id, infos[0].node_id)
    await desk.executor.destroy(desk.id, infos[0].node_id)


@pytest.mark.parametrize(
    "code",
    [
        BUSY,
        "print('up', flush=True)\nimport time; time.sleep(1000)",
        "print('up', flush=True)\ninput()",
        "print('up', flush=True)\n!sleep 1000",
        "print('up', flush=True)\nimport asyncio\nawait asyncio.sleep(1000)",
        STUBBORN.format("BaseException"),
        "print('up', flush=True)\nimport re; re.match('(a*)*b', 'a' * 64)",
        "print('up', flush=True)\nimport os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    ],
)
async def test_code_over_its_limit_is_ended(desk: Desk, code: str) -> None:
    """Whatever it does, code ends within 3 s of its limit, with its output until then."""
    began = time.monotonic()
    run = await desk.run(code, timeout_seconds=1)
    took = time.monotonic() - began

    assert run.status is TIMED_OUT
    assert run.finished.exit_code == 124
    assert run.finished.interpreter_restarted
    assert run.finished.duration_ms < 1000 * (1 + ENDED_WITHIN_SECONDS)
    assert took < 1 + ENDED_WITHIN_SECONDS
    assert run.stdout == "up\n"
    assert run.error.name == "TimeoutError"
    assert "timeoutSeconds" in run.error.value
    assert await desk.value("6 * 7") == "42"


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


async def test_wrong_ids_and_answers_are_named(desk: Desk) -> None:
    """Unknown executions and sessions, and answers nobody waits for, are conditions of ours."""
    execution = await desk.submit("1")
    await desk.ended(execution)
    unknown = str(uuid.uuid4())
    with pytest.raises(UnknownExecutionError):
        await desk.executor.read(desk.id, unknown, 0)
    with pytest.raises(UnknownExecutionError):
        await desk.executor.interrupt(desk.id, unknown)
    with pytest.raises(NotWaitingError):
        await desk.executor.provide_input(desk.id, execution, 1, "text")
    with pytest.raises(SessionGoneError):
        await desk.executor.record(f"{desk.spec.instance}-{uuid.uuid4().hex}", execution)

    await desk.executor.leave(desk.id, unknown, "nobody")


async def test_an_answer_is_for_its_question(desk: Desk) -> None:
    """An answer with another question's number is refused, and the right one taken once."""
    execution = await desk.submit("input('?')")
    asked = await desk.until(execution, lambda event: isinstance(event, InputRequested))
    with pytest.raises(NotWaitingError):
        await desk.executor.provide_input(desk.id, execution, asked.seq + 1, "wrong")
    await desk.executor.provide_input(desk.id, execution, asked.seq, "right")
    with pytest.raises(NotWaitingError):
        await desk.executor.provide_input(desk.id, execution, asked.seq, "again")

    assert (await desk.follow(execution)).result == "'right'"


async def test_statistics_are_the_containers(desk: Desk) -> None:
    """Executions, age, memory, time of the CPU, disk and processes are told as they are."""
    before = await desk.executor.stats(desk.id)
    (await desk.run("data = bytearray(50_000_000); sum(range(3_000_000))")).succeeded()
    after = await desk.executor.stats(desk.id)
    (await desk.run("del data")).succeeded()

    assert after.session_id == desk.id
    assert after.execution_count == before.execution_count + 1
    assert after.uptime_seconds > before.uptime_seconds > 0
    assert after.container_status == "running"
    assert after.memory_used_bytes > before.memory_used_bytes + 40_000_000
    assert after.memory_used_bytes < desk.spec.limits.memory_bytes
    assert after.cpu_seconds > before.cpu_seconds
    assert 0 < after.processes < 10
    assert 0 < after.disk_used_bytes < desk.spec.limits.disk_bytes


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


async def test_packages_installed_beside_code_are_importable_at_once(lab: Lab) -> None:
    """An installation runs beside code; its package imports then, and after stop and start."""
    desk = await lab.start()
    running = await desk.submit(BUSY)
    await desk.until_printed(running, "up")
    request = InstallRequest(str(uuid.uuid4()), ("six",))
    await desk.executor.install(desk.id, request)
    (await desk.follow(request.execution_id)).succeeded()
    await desk.executor.interrupt(desk.id, running)
    assert await desk.value("import six; six.__name__") == "'six'"
    await desk.executor.stop(desk.id, None)
    await desk.executor.start(desk.spec)

    assert await desk.value("import six; six.__name__") == "'six'"
    collected = await desk.executor.collect(desk.id, [], 0, wait_seconds=0)
    assert collected.packages is not None
    assert [one.name for one in collected.packages] == ["six"]


async def test_a_stop_tells_what_was_lost(lab: Lab) -> None:
    """Running and queued executions end LOST with the reason; files stay for the next start."""
    desk = await lab.start()
    await desk.executor.write_file(desk.id, "kept.txt", b"kept")
    ended = await desk.submit("print('ended')")
    await desk.ended(ended)
    running = await desk.submit(BUSY)
    await desk.until_printed(running, "up")
    queued = await desk.submit("1")
    records = {one.execution_id: one for one in await desk.executor.stop(desk.id, None)}

    assert {name: one.status for name, one in records.items()} == {
        ended: ExecutionStatus.SUCCEEDED,
        running: ExecutionStatus.LOST,
        queued: ExecutionStatus.LOST,
    }
    assert records[running].stdout == "up\n"
    assert "stopped" in str(records[running].error)
    with pytest.raises(SessionGoneError):
        await desk.submit("1")
    assert await desk.executor.stop(desk.id, None) == ()
    traces = {one.session_id: one for one in await desk.executor.inventory()}
    trace = traces[desk.id]
    assert (trace.actor, trace.container, trace.folders) == (False, False, True)
    await desk.executor.start(desk.spec)
    assert await desk.value("open('kept.txt').read()") == "'kept'"


async def test_an_actor_killed_from_outside(lab: Lab) -> None:
    """Its readers are told that the session is gone; the next start has the same files."""
    desk = await lab.start()
    (await desk.run("open('kept.txt', 'w').write('kept')")).succeeded()
    execution = await desk.submit(BUSY)
    await desk.until_printed(execution, "up")
    reader = asyncio.create_task(desk.executor.read(desk.id, execution, 10))
    handle = await cluster.blocking(cluster.find_actor, f"{ACTOR_PREFIX}{desk.id}", ACTOR_NAMESPACE)
    await cluster.blocking(cluster.end_actor, handle)
    with pytest.raises(SessionGoneError):
        async with asyncio.timeout(30):
            await reader
    await desk.executor.start(desk.spec)

    assert await desk.value("open('kept.txt').read()") == "'kept'"
    assert await desk.processes() < 10


def connection_to(desk: Desk) -> RpcConnection | None:
    """Return the executor's connection to the session's socket."""
    return desk.executor._local._connections.get(desk.id)


async def all_often_called(desk: Desk) -> None:
    """Check every call that may go either way, by what it answers."""
    execution = await desk.submit("print('it'); 6 * 7", reader_id="desk")
    run = await desk.follow(execution, reader_id="desk")
    record = await desk.ended(execution)
    request = InstallRequest(str(uuid.uuid4()), ("six",))
    await desk.executor.install(desk.id, request)
    (await desk.follow(request.execution_id)).succeeded()
    await desk.executor.leave(desk.id, execution, "desk")
    recorded = {one.execution_id: one for one in await desk.recorded()}

    assert (run.succeeded().stdout, run.result) == ("it\n", "42")
    assert record.stdout == "it\n"
    assert recorded[execution] == record
    assert recorded[request.execution_id].status is ExecutionStatus.SUCCEEDED
    with pytest.raises(UnknownExecutionError):
        await desk.executor.record(desk.id, str(uuid.uuid4()))


async def test_a_session_here_is_called_by_its_socket(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where API and session share a machine, what is called often needs no Ray."""

    async def refuse(*_: object) -> NoReturn:
        pytest.fail("Ray was asked")

    monkeypatch.setattr(desk.executor, "_call_actor", refuse)
    await all_often_called(desk)
    connection = connection_to(desk)

    assert connection is not None
    assert not connection.closed
    assert not connection._calls


@contextmanager
def elsewhere(desk: Desk, aside: Path) -> Iterator[None]:
    """Have a folder of another machine's."""
    known, desk.executor._local = desk.executor._local, LocalCalls(aside)
    try:
        yield
    finally:
        desk.executor._local = known


@contextmanager
def removed(desk: Desk, aside: Path) -> Iterator[None]:
    """Have no socket in the session's folder."""
    place = session_folder(Path(desk.spec.node_data_dir), desk.id) / SOCKET
    place.rename(place.with_name(aside.name))
    desk.executor._local.expect(desk.id)
    try:
        yield
    finally:
        place.with_name(aside.name).rename(place)
        desk.executor._local.expect(desk.id)


@pytest.mark.parametrize("without", [elsewhere, removed])
async def test_a_session_elsewhere_is_called_by_ray(
    desk: Desk, tmp_path: Path, without: Callable[[Desk, Path], AbstractContextManager[None]]
) -> None:
    """Where there is no socket, Ray carries the same calls with the same answers."""
    with without(desk, tmp_path):
        await all_often_called(desk)
        assert connection_to(desk) is None

    assert await desk.value("6 * 7") == "42"
    assert connection_to(desk) is not None


async def test_an_actor_that_dies_under_a_read(lab: Lab) -> None:
    """Who reads by the socket of an actor that is killed is told that the session is gone."""
    desk = await lab.start()
    execution = await desk.submit(BUSY)
    await desk.until_printed(execution, "up")
    connection = connection_to(desk)
    assert connection is not None
    reader = asyncio.create_task(desk.executor.read(desk.id, execution, 10))

    async def reading() -> bool:
        return bool(connection._calls)

    await until(reading)
    os.kill(peer_of(connection), signal.SIGKILL)
    with pytest.raises(SessionGoneError):
        async with asyncio.timeout(30):
            await reader

    with pytest.raises(SessionGoneError):
        await desk.submit("1")
    await desk.executor.start(desk.spec)
    assert await desk.value("6 * 7") == "42"
    assert connection_to(desk) not in (None, connection)


def peer_of(connection: RpcConnection) -> int:
    """Return the process at the other end."""
    assert connection._transport is not None
    end = connection._transport.get_extra_info("socket")
    pid: int
    pid, _, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid


async def test_the_last_event_brings_the_record(desk: Desk) -> None:
    """The batch with an execution's last event has its complete record, and no other has."""
    execution = await desk.submit("print('it')\ninput()")
    asked = await desk.until(execution, lambda event: isinstance(event, InputRequested))
    before = await desk.executor.read(desk.id, execution, 0)
    await desk.executor.provide_input(desk.id, execution, asked.seq, "")
    record = await desk.ended(execution)
    last = await desk.executor.read(desk.id, execution, asked.seq)
    after = await desk.executor.read(desk.id, execution, record.last_seq)

    assert (before.ended, before.record) == (False, None)
    assert (last.ended, last.record) == (True, record)
    assert (after.events, after.ended, after.record) == ((), True, None)


async def test_no_room_is_said_in_time(lab: Lab) -> None:
    """A session that the cluster has no place for fails with words, soon, and leaves nothing."""
    desk = lab.desk(num_cpus=10_000.0)
    began = time.monotonic()
    with pytest.raises(NoCapacityError, match="no room"):
        await desk.executor.start(desk.spec)

    assert time.monotonic() - began < CAPACITY_SECONDS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": "sandbox-api/none:such"}, "image"),
        ({"runtime": "no-such-runtime"}, "no-such-runtime"),
        ({"node_id": "0" * 56}, "node"),
    ],
)
async def test_a_start_that_can_not_be(lab: Lab, changes: dict[str, str], words: str) -> None:
    """A missing image, runtime or node is named, and nothing stays."""
    desk = lab.desk(**changes)
    with pytest.raises(SandboxStartError, match=words):
        await desk.executor.start(desk.spec)

    label = f"label=sandbox-api.session={desk.id}"
    assert not docker("ps", "--all", "--quiet", "--filter", label)
    assert not await cluster.blocking(
        cluster.find_actor, f"{ACTOR_PREFIX}{desk.id}", ACTOR_NAMESPACE
    )


@pytest.mark.long
async def test_thirty_two_idle_sessions_fit(lab: Lab) -> None:
    """Thirty-two sessions start on this machine and all answer."""
    desks = [lab.desk() for _ in range(32)]
    for batch in range(0, 32, 4):
        await asyncio.gather(*(lab.executor.start(one.spec) for one in desks[batch : batch + 4]))
    answers = await asyncio.gather(*(one.value(f"{n}") for n, one in enumerate(desks)))
    # Their place is the next test's.
    for one in desks:
        await lab.executor.destroy(one.id, None)

    assert answers == [str(n) for n in range(32)]


@pytest.mark.long
async def test_ten_run_code_side_by_side(lab: Lab) -> None:
    """Ten sessions run code at the same time, and each sees its own state alone."""
    desks = [await lab.start() for _ in range(10)]
    code = "import time\nmine = {n}\nfor _ in range(20): time.sleep(0.05); print(mine, end='')"
    runs = await asyncio.gather(*(one.run(code.format(n=n)) for n, one in enumerate(desks)))

    assert [run.succeeded().stdout for run in runs] == [f"{n}" * 20 for n in range(10)]


async def test_a_plain_folder_is_watched(lab: Lab) -> None:
    """Where a node has no loop mounts, code over the disk limit is ended and told why."""
    desk = lab.desk(limits=SessionLimits(disk_bytes=64_000_000))
    folder = lab.stack.layout.sandboxes / desk.spec.session_id
    folder.mkdir(mode=0o700, parents=True)
    (folder / "plain").touch()
    await lab.executor.start(desk.spec)
    run = await desk.run(
        "import time\nfor n in range(100): open(f'{n}', 'wb').write(b'x' * 10**6)\ntime.sleep(30)"
    )
    await desk.run("!rm -f /workspace/*")
    after = await desk.run("1 + 1")

    assert run.status is ExecutionStatus.LOST
    assert "disk limit" in run.error.value
    assert after.status is ExecutionStatus.SUCCEEDED


async def test_a_node_that_has_joined_again_has_its_sessions(lab: Lab) -> None:
    """Ray names a node anew each time: a session goes back to the one that has its folders."""
    desk = await lab.start()
    await desk.executor.write_file(desk.id, "kept.txt", b"kept")
    await desk.executor.stop(desk.id, None)

    info = await desk.executor.start(replace(desk.spec, node_id="0" * 56))
    kept = await desk.executor.read_file(desk.id, "kept.txt", 0, 10)

    assert info.node_id != "0" * 56
    assert kept.data == b"kept"


async def test_installations_that_come_at_once_take_turns(lab: Lab) -> None:
    """Four first installations at the same moment all succeed, one after another."""
    desk = await lab.start()
    names = [uuid.uuid4().hex for _ in range(4)]
    await asyncio.gather(
        *(desk.executor.install(desk.id, InstallRequest(name, ("six",))) for name in names)
    )
    ends = await asyncio.gather(*(desk.executor.wait_ended(desk.id, name) for name in names))

    assert [end.status for end in ends] == [ExecutionStatus.SUCCEEDED] * 4
