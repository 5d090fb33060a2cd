"""What is recorded behind the requests, whether anybody reads, by one process at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from db.engine import Database
from db.repositories.running import RunningRepository
from services.entities import ExecutionUpdate, Package, PackagesToInstall
from services.executor.messages import Collected, ExecutionStatus
from services.keeper import Keeper
from services.leases import Lease
from services.read_budget import ReadBudget
from services.transactions import Transactions
from tests.support.postgres import PostgresServer
from tests.support.rooms import Room, comes_to, make_older, recorded, room_in, session_of, until
from tests.support.scripted_sessions import HOLD


@pytest.fixture
async def database(own_server: PostgresServer) -> AsyncIterator[Database]:
    """A database of its own for each test: the duties see all that is in it."""
    async with own_server.database() as made, Database(made.url) as opened:
        yield opened


async def has_ended(room: Room, update_: ExecutionUpdate) -> None:
    """Wait until the database has its end."""

    async def holds() -> bool:
        row = await recorded(room, update_)
        return row is not None and ExecutionStatus(row.status).ended

    await until(holds)


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
    room: Room, own_server: PostgresServer
) -> None:
    """Nothing is acknowledged before it is written."""
    sandbox = await room.running()
    first = await anext(room.stream(sandbox, HOLD).source)
    session = session_of(room)
    async with room.services.keeper:
        own_server.halt()
        session.finish(session.executions[str(first.execution_id)], ExecutionStatus.SUCCEEDED)
        await asyncio.sleep(0.5)
        assert not session.acknowledged
        own_server.restart()
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
        kept.viewer, PackagesToInstall(str(sandbox.id), ["six", "attrs"]), ReadBudget()
    )
    await kept.services.sandboxes.stop(kept.viewer, str(sandbox.id))
    listed = await kept.services.packages.list(kept.viewer, sandbox.id)

    assert installed.execution.code == "six\nattrs"
    assert installed.packages == [Package("attrs", "1"), Package("six", "1")]
    assert listed == installed.packages


async def test_only_the_recorder_collects(room: Room) -> None:
    """Listing, installing and reaping leave what is unrecorded to it."""
    idle = await room.running()
    await make_older(room, idle, 3601)
    await room.services.reaper.reap()
    reason = await comes_to(room, idle, "STOPPED")
    sandbox = await room.running()
    await room.services.packages.install(
        room.viewer, PackagesToInstall(str(sandbox.id), ["six"]), ReadBudget()
    )
    listed = await room.services.packages.list(room.viewer, sandbox.id)

    assert reason == "idle for 3600 s"
    assert listed == [Package("six", "1")]
    assert room.executor.calls["collect"] == 0


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


async def take_turns(turns: list[str]) -> None:
    """Do a duty without end, telling of its beginning and its end."""
    turns.append("begun")
    try:
        await asyncio.Event().wait()
    finally:
        turns.append("ended")


async def test_a_keeper_that_cannot_renew_stops_working(
    database: Database, own_server: PostgresServer
) -> None:
    """And begins again when the database is back."""
    turns: list[str] = []

    async def duty() -> None:
        await take_turns(turns)

    async def has(number: int) -> None:
        async def holds() -> bool:
            return len(turns) >= number

        await until(holds)

    async with Keeper(Lease(Transactions(database), "keeper", 0.9), [duty]):
        await has(1)
        own_server.halt()
        await has(2)
        own_server.restart()
        await has(3)

    assert turns == ["begun", "ended", "begun", "ended"]


async def test_a_keeper_outlives_what_the_database_refuses(own_server: PostgresServer) -> None:
    """Whether it comes to the lease, renews it or gives it back; each refusal is in the log."""
    turns: list[str] = []

    async def duty() -> None:
        await take_turns(turns)

    async def until_there_are(number: int, of: list[str] | list[EventDict]) -> None:
        async def holds() -> bool:
            return len(of) >= number

        await until(holds)

    async with own_server.database() as made, Database(made.url) as database:
        away = "ALTER TABLE sandbox_api.leases RENAME TO away"
        back = "ALTER TABLE sandbox_api.away RENAME TO leases"
        await own_server.run(made.name, away)
        with capture_logs() as logs:
            keeper = Keeper(Lease(Transactions(database), "keeper", 0.9), [duty])
            async with keeper:
                await until_there_are(1, logs)
                await own_server.run(made.name, back)
                await until_there_are(1, turns)
                await own_server.run(made.name, away)
                await until_there_are(2, turns)
                await own_server.run(made.name, back)
                await until_there_are(3, turns)
                await own_server.run(made.name, away)

    assert turns == ["begun", "ended", "begun", "ended"]
    refused = [each for each in logs if each["log_level"] == "error"]
    assert {each["event"] for each in refused} == {"lease not kept", "lease not given back"}
    assert all(each["exc_info"] for each in refused)


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
