"""What goes on behind the requests: recording, reaping, reconciling, by one process at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from sqlmodel import col, update

from db.engine import Database
from db.repositories.running import RunningRepository
from db.tables import ExecutionRow, SandboxRow
from services.entities import (
    ExecutionUpdate,
    NewSandbox,
    Package,
    PackagesToInstall,
    Sandbox,
    SandboxChanges,
)
from services.executor.errors import ClusterUnavailableError
from services.executor.messages import Collected, ExecutionStatus
from services.keeper import Keeper
from services.leases import Lease
from services.transactions import Transactions
from tests.support.postgres import PostgresServer, embedded_server
from tests.support.rooms import Room, room_in, until
from tests.support.scripted_sessions import HOLD, ScriptedSession


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[PostgresServer]:
    """The product's own server."""
    with embedded_server() as started:
        yield started


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    """A database of its own for each test: the duties see all that is in it."""
    async with server.database() as made, Database(made.url) as opened:
        yield opened


@pytest.fixture
async def room(database: Database) -> AsyncIterator[Room]:
    """One process, with a user of its own."""
    async with room_in(database) as made:
        yield made


@pytest.fixture
async def kept(room: Room) -> AsyncIterator[Room]:
    """The process while it holds the lease."""
    async with room.services.keeper:
        yield room


def session_of(room: Room) -> ScriptedSession:
    """Return the one session that there is."""
    [session] = room.executor.sessions.values()
    return session


async def recorded(room: Room, update_: ExecutionUpdate) -> ExecutionRow | None:
    """Return the record of an execution, as the database has it."""
    async with room.database.service_session() as session:
        return await session.get(ExecutionRow, update_.execution_id)


async def has_ended(room: Room, update_: ExecutionUpdate) -> None:
    """Wait until the database has its end."""

    async def holds() -> bool:
        row = await recorded(room, update_)
        return row is not None and ExecutionStatus(row.status).ended

    await until(holds)


async def comes_to(room: Room, sandbox: Sandbox, status: str | None) -> str | None:
    """Wait until a sandbox has this status (None: is gone), and return the reason."""
    reason = None

    async def holds() -> bool:
        nonlocal reason
        row = await room.row(sandbox)
        reason = None if row is None else row.status_reason
        return (None if row is None else row.status) == status

    await until(holds)
    return reason


async def is_watched(room: Room) -> None:
    """Wait until the recorder has heard the one session once, and written that."""

    async def holds() -> bool:
        return room.executor.calls["collect"] >= 2

    await until(holds)


async def make_older(room: Room, sandbox: Sandbox, seconds: float) -> None:
    """Have a sandbox been started, and used last, so long before."""
    span = timedelta(seconds=seconds)
    async with room.database.service_session() as session:
        await session.exec(
            update(SandboxRow)
            .where(col(SandboxRow.id) == sandbox.id)
            .values(
                started_at=col(SandboxRow.started_at) - span,
                last_active_at=col(SandboxRow.last_active_at) - span,
            )
        )
    session_of(room).last_active_at -= seconds


async def test_an_end_is_recorded_without_any_reader(kept: Room) -> None:
    """And acknowledged once it is."""
    sandbox = await kept.running()
    first = await anext(kept.stream(sandbox, HOLD).source)
    session = session_of(kept)
    session.finish(session.executions[str(first.execution_id)], ExecutionStatus.FAILED)
    await has_ended(kept, first)

    async def acknowledged() -> bool:
        return str(first.execution_id) in session.acknowledged

    await until(acknowledged)
    row = await kept.row(sandbox)
    assert row is not None
    assert row.last_active_at is not None
    assert row.started_at is not None
    assert row.last_active_at > row.started_at


async def test_an_outage_of_the_database_loses_no_record(
    room: Room, server: PostgresServer
) -> None:
    """Nothing is acknowledged before it is written."""
    sandbox = await room.running()
    first = await anext(room.stream(sandbox, HOLD).source)
    session = session_of(room)
    async with room.services.keeper:
        server.halt()
        session.finish(session.executions[str(first.execution_id)], ExecutionStatus.SUCCEEDED)
        await asyncio.sleep(0.5)
        assert not session.acknowledged
        server.restart()
        await has_ended(room, first)


async def test_a_session_that_ended_by_itself_stops_its_sandbox(kept: Room) -> None:
    """With its reason, as ray-agents' own clean-up does."""
    sandbox = await kept.running()
    session = session_of(kept)
    session.stopped_reason = "It was cleaned up by a tool."
    session.change()

    assert await comes_to(kept, sandbox, "STOPPED") == "It was cleaned up by a tool."
    assert not kept.executor.sessions


async def test_a_session_that_failed_fails_its_sandbox(kept: Room) -> None:
    """With its reason."""
    sandbox = await kept.running()
    session = session_of(kept)
    session.stopped_reason, session.failed = "Its container died.", True
    session.change()

    assert await comes_to(kept, sandbox, "FAILED") == "Its container died."


async def test_a_session_that_was_killed_fails_its_sandbox(kept: Room) -> None:
    """Its executions are LOST with the reason, and it can be started again."""
    sandbox = await kept.running()
    first = await anext(kept.stream(sandbox, HOLD).source)
    kept.executor.kill(session_of(kept).session_id)
    reason = await comes_to(kept, sandbox, "FAILED")
    row = await recorded(kept, first)

    assert row is not None
    assert row.status == "LOST"
    assert reason is not None
    assert reason in (row.error or b"").decode()
    started = await kept.services.sandboxes.start(kept.viewer, str(sandbox.id))
    assert started.status == "RUNNING"


async def test_the_last_words_of_a_session_are_recorded(kept: Room) -> None:
    """What it left behind when its process ended is no loss."""
    sandbox = await kept.running()
    first = await anext(kept.stream(sandbox, "hello").source)
    await has_ended(kept, first)
    second = await anext(kept.stream(sandbox, HOLD).source)
    session = session_of(kept)
    kept.executor.words[session.session_id] = Collected(
        session_id=session.session_id,
        ended=(),
        packages=None,
        packages_version=0,
        last_active_at=0.0,
        busy=False,
        stopped_reason="It was cleaned up by a tool.",
        failed=False,
    )
    kept.executor.kill(session.session_id)

    assert await comes_to(kept, sandbox, "STOPPED") == "It was cleaned up by a tool."
    row = await recorded(kept, second)
    assert row is not None
    assert row.status == "LOST"


async def test_installed_packages_are_recorded_and_listed_at_once(kept: Room) -> None:
    """By the answer, and when the sandbox is stopped afterwards."""
    sandbox = await kept.running()
    installed = await kept.services.packages.install(
        kept.viewer, PackagesToInstall(str(sandbox.id), ["six", "attrs"])
    )
    await kept.services.sandboxes.stop(kept.viewer, str(sandbox.id))
    listed = await kept.services.packages.list(kept.viewer, sandbox.id)

    assert installed.execution.code == "six\nattrs"
    assert installed.packages == [Package("attrs", "1"), Package("six", "1")]
    assert listed == installed.packages


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


async def half_begun(room: Room, sandbox: Sandbox, verb: str, method: str) -> asyncio.Event:
    """Begin an operation that goes no further, as where its process died, before the event."""
    gate = room.executor.gates[method] = asyncio.Event()
    call = getattr(room.services.sandboxes, verb)(room.viewer, str(sandbox.id))
    task = asyncio.create_task(call)
    task.add_done_callback(lambda done: done.exception())

    async def begun() -> bool:
        row = await room.row(sandbox)
        return row is not None and row.operation_id is not None

    await until(begun)
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


async def test_one_process_keeps_house_at_a_time(database: Database) -> None:
    """The next takes over as soon as the first ends, or dies."""
    working: list[str] = []

    def keeper(name: str) -> Keeper:
        async def duty() -> None:
            working.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                working.remove(name)

        return Keeper(Lease(Transactions(database), "keeper", 0.9), [duty])

    async def works(name: str) -> None:
        async def holds() -> bool:
            return working == [name]

        await until(holds)

    async with keeper("second") as second:
        await works("second")
        async with keeper("first"):
            await asyncio.sleep(0.5)
            assert working == ["second"]
            await second.aclose()
            await second.aclose()
            await works("first")
    assert working == []


async def test_a_keeper_that_cannot_renew_stops_working(
    database: Database, server: PostgresServer
) -> None:
    """And begins again when the database is back."""
    turns: list[str] = []

    async def duty() -> None:
        turns.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            turns.append("ended")

    async def has(number: int) -> None:
        async def holds() -> bool:
            return len(turns) >= number

        await until(holds)

    async with Keeper(Lease(Transactions(database), "keeper", 0.9), [duty]):
        await has(1)
        server.halt()
        await has(2)
        server.restart()
        await has(3)

    assert turns == ["begun", "ended", "begun", "ended"]


async def test_everything_alive_is_found_again_after_a_restart(room: Room) -> None:
    """Another process records what the first has begun."""
    sandbox = await room.running()
    first = await anext(room.stream(sandbox, HOLD).source)
    async with room_in(room.database, room.executor) as next_, next_.services.keeper:
        session = session_of(room)
        session.finish(session.executions[str(first.execution_id)], ExecutionStatus.SUCCEEDED)
        await has_ended(next_, first)

    async with room.database.service_session() as session_:
        assert await RunningRepository(session_).unended() == []
