"""What a session answers to its callers, be they here, by its socket, or elsewhere, by Ray."""

import asyncio
import os
import signal
import socket
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from services.executor.errors import NotWaitingError, SessionGoneError, UnknownExecutionError
from services.executor.local import SOCKET, LocalCalls
from services.executor.messages import ExecutionStatus, InputRequested, InstallRequest
from services.executor.rpc import RpcConnection
from services.executor.storage import session_folder
from tests.support.sessions import BUSY, Desk, Lab, until


async def test_starting_again_answers_as_it_is(desk: Desk) -> None:
    """A session that runs is not started twice: it keeps its state and its age."""
    (await desk.run("kept = 1")).succeeded()
    first = await desk.executor.start(desk.spec)
    second = await asyncio.gather(*(desk.executor.start(desk.spec) for _ in range(5)))

    assert {info.started_at for info in second} == {first.started_at}
    assert await desk.value("kept") == "1"


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


@pytest.mark.long
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
