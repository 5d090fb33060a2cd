"""What has outlived its time, its record or its process: reaped, and reconciled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Literal

import pytest
from sqlmodel import col, update
from structlog.testing import capture_logs

from db.engine import Database
from db.tables import ExecutionRow
from services.entities import NewSandbox, Sandbox, SandboxChanges
from services.executor.errors import ClusterUnavailableError
from services.executor.messages import ExecutionStatus
from tests.support.postgres import Servers
from tests.support.rooms import (
    Room,
    a_held_execution,
    comes_to,
    make_older,
    recorded,
    session_of,
    until,
)
from tests.support.scripted_sessions import HOLD


@pytest.fixture
async def database(servers: Servers) -> AsyncIterator[Database]:
    """A database of its own for each test: the duties see all that is in it."""
    async with servers("embedded").database() as made, Database(made.url) as opened:
        yield opened


async def is_watched(room: Room) -> None:
    """Wait until the recorder has heard the one session once, and written that."""

    async def holds() -> bool:
        return room.executor.calls["collect"] >= 2

    await until(holds)


async def test_an_idle_sandbox_is_stopped_with_the_reason(kept: Room) -> None:
    """An hour after its last use."""
    sandbox = await kept.running()
    await is_watched(kept)
    await make_older(kept, sandbox, 3601)

    assert await comes_to(kept, sandbox, "STOPPED") == "idle for 3600 s"


async def test_an_old_sandbox_is_stopped_though_it_is_used(kept: Room) -> None:
    """What runs then is LOST, with the reason."""
    sandbox = await kept.running(lifetime_seconds=60)
    first = await anext(kept.stream(sandbox, HOLD).source)
    await make_older(kept, sandbox, 61)

    assert await comes_to(kept, sandbox, "STOPPED") == "reached its lifetime of 60 s"
    row = await recorded(kept, first)
    assert row is not None
    assert row.status == "LOST"


async def test_a_sandbox_in_use_is_not_idle(room: Room) -> None:
    """Not even by use that no record tells; a longer lifetime keeps it, too."""
    used = await room.running()
    async with AsyncExitStack() as stack:
        stream = room.stream(used, HOLD).source
        stack.push_async_callback(stream.aclose)  # type: ignore[attr-defined] # a generator
        await anext(stream)
        await make_older(room, used, 4000)
        await room.services.reaper.reap()
        row = await room.row(used)
    assert row is not None
    assert row.status == "RUNNING"

    session = session_of(room)
    session.executions.clear()
    session.last_active_at += 3990
    await room.services.reaper.reap()
    row = await room.row(used)
    assert row is not None
    assert row.status == "RUNNING"

    session.last_active_at -= 3990
    await room.services.sandboxes.update(
        room.viewer, str(used.id), SandboxChanges(idle_timeout_seconds=5000)
    )
    await room.services.reaper.reap()
    row = await room.row(used)
    assert row is not None
    assert row.status == "RUNNING"


async def test_old_records_are_removed(room: Room) -> None:
    """After the time that they are kept, and no earlier."""
    sandbox = await room.running()
    updates = [await room.stream(sandbox, code).all() for code in ("old", "new")]
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    async with room.database.service_session() as session:
        await session.exec(
            update(ExecutionRow)
            .where(col(ExecutionRow.id) == updates[0][0].execution_id)
            .values(finished_at=col(ExecutionRow.finished_at) - timedelta(days=31))
        )
    await room.services.reaper.purge()

    assert await recorded(room, updates[0][0]) is None
    assert await recorded(room, updates[1][0]) is not None


async def test_a_session_that_no_record_names_is_removed(room: Room) -> None:
    """Folder and all; those that a record names stay."""
    await room.running()
    [mine] = room.executor.sessions
    room.executor.folders.add("0123abcd-leftover")
    await room.services.reconciler.reconcile()

    assert room.executor.folders == {mine}
    assert set(room.executor.sessions) == {mine}


async def test_a_session_that_is_newer_than_the_list_is_not_removed(room: Room) -> None:
    """A start between both looks is on no list."""
    gate = room.executor.gates["inventory"] = asyncio.Event()
    reconciling = asyncio.create_task(room.services.reconciler.reconcile())
    sandbox = await room.running()
    gate.set()
    await reconciling

    row = await room.row(sandbox)
    assert row is not None
    assert row.status == "RUNNING"
    assert room.executor.sessions


async def test_what_still_runs_of_a_stopped_sandbox_is_ended(room: Room) -> None:
    """The record said STOPPED, and now it is so."""
    sandbox = await room.running()
    [session] = room.executor.sessions.values()
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    room.executor.sessions[session.session_id] = session
    await room.services.reconciler.reconcile()

    row = await room.row(sandbox)
    assert not room.executor.sessions
    assert row is not None
    assert (row.status, row.operation_id) == ("STOPPED", None)


class Gate(asyncio.Event):
    """Tells who holds it shut that somebody has come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        """Wait until it is opened."""
        self.reached.set()
        return await super().wait()


async def half_begun(room: Room, sandbox: Sandbox, verb: str, method: str) -> asyncio.Event:
    """Begin an operation that goes no further, as where its process died, before the event."""
    gate = room.executor.gates[method] = Gate()
    call = getattr(room.services.sandboxes, verb)(room.viewer, str(sandbox.id))
    task = asyncio.create_task(call)
    task.add_done_callback(lambda done: done.exception())
    async with asyncio.timeout(20):
        await gate.reached.wait()
    await room.age_operation(sandbox)
    del room.executor.gates[method]  # for all who come later
    return gate


@pytest.mark.parametrize(
    ("verb", "method", "status"),
    [("start", "start", "FAILED"), ("stop", "stop", "STOPPED"), ("delete", "stop", None)],
)
async def test_operations_whose_process_died_are_resolved(
    room: Room, verb: str, method: str, status: str | None
) -> None:
    """By what is there: nothing stays in between."""
    sandbox = (
        await room.services.sandboxes.create(room.viewer, NewSandbox())
        if verb == "start"
        else await room.running()
    )
    gate = await half_begun(room, sandbox, verb, method)
    await room.services.reconciler.reconcile()

    await comes_to(room, sandbox, status)
    assert not room.executor.sessions
    gate.set()


async def test_an_execution_that_never_came_to_its_session_is_lost_in_the_end(room: Room) -> None:
    """It counts in no limit for ever."""
    sandbox = await room.running()
    room.executor.faults["execute"].append(ClusterUnavailableError("Ray is away."))
    with pytest.raises(Exception, match="Ray is away"):
        await room.stream(sandbox, "hello").all()
    await room.services.reconciler.reconcile()
    usage = await room.services.sandboxes.usage(room.viewer)
    async with room.database.service_session() as session:
        await session.exec(
            update(ExecutionRow).values(
                created_at=col(ExecutionRow.created_at) - timedelta(seconds=61)
            )
        )
    await room.services.reconciler.reconcile()

    assert usage.running_executions == 1
    assert (await room.services.sandboxes.usage(room.viewer)).running_executions == 0


async def two_running(room: Room) -> list[Sandbox]:
    """Return two sandboxes that run."""
    return [await room.running() for _ in range(2)]


async def statuses(room: Room, sandboxes: list[Sandbox]) -> list[str]:
    """Return what the records say of sandboxes, in alphabetical order."""
    rows = [await room.row(each) for each in sandboxes]
    return sorted("" if row is None else row.status for row in rows)


async def test_a_lost_sandbox_that_fails_keeps_no_other_from_its_turn(room: Room) -> None:
    """The round goes on, the fault is in the log, and the next round makes up for it."""
    sandboxes = await two_running(room)
    for session_id in list(room.executor.sessions):
        room.executor.kill(session_id)
    room.executor.faults["stats"].append(RuntimeError("odd"))
    with capture_logs() as logs:
        await room.services.reconciler.reconcile()
    first = await statuses(room, sandboxes)
    await room.services.reconciler.reconcile()

    assert first == ["FAILED", "RUNNING"]
    assert [each["exc_info"] for each in logs if each["log_level"] == "error"] == [True]
    assert await statuses(room, sandboxes) == ["FAILED", "FAILED"]


async def test_an_operation_that_fails_keeps_no_other_from_its_turn(room: Room) -> None:
    """Two starts were cut short: one is ended in this round, the other in the next."""
    create = room.services.sandboxes.create
    sandboxes = [await create(room.viewer, NewSandbox()) for _ in range(2)]
    gates = [await half_begun(room, each, "start", "start") for each in sandboxes]
    room.executor.faults["stats"].append(RuntimeError("odd"))
    await room.services.reconciler.resolve()
    first = await statuses(room, sandboxes)
    await room.services.reconciler.resolve()

    assert first == ["FAILED", "STARTING"]
    assert await statuses(room, sandboxes) == ["FAILED", "FAILED"]
    for gate in gates:
        gate.set()


async def test_an_execution_that_fails_keeps_no_other_from_its_turn(room: Room) -> None:
    """Both have ended: one is recorded in this round, the other in the next."""
    sandbox = await room.running()
    for _ in range(2):
        await a_held_execution(room, sandbox)
    session = session_of(room)
    for execution in session.unended():
        session.finish(execution, ExecutionStatus.SUCCEEDED)
    room.executor.faults["record"].append(RuntimeError("odd"))
    await room.services.reconciler.reconcile()
    # As the record has it: who asks for their usage has it brought up to date before.
    first = (await room.services.sandboxes._usage(room.viewer)).unended_executions
    await room.services.reconciler.reconcile()

    assert first == 1
    assert (await room.services.sandboxes._usage(room.viewer)).unended_executions == 0


async def test_a_session_that_fails_keeps_no_other_from_its_turn(room: Room) -> None:
    """Two are left over of stopped sandboxes: one is ended in this round."""
    sandboxes = await two_running(room)
    sessions = dict(room.executor.sessions)
    for sandbox in sandboxes:
        await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    room.executor.sessions.update(sessions)
    room.executor.faults["stop"].append(RuntimeError("odd"))
    await room.services.reconciler.reconcile()

    assert len(room.executor.sessions) == 1
