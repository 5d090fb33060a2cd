"""Word of changes from other processes, over LISTEN and NOTIFY of a real PostgreSQL."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from db.engine import Database
from db.notices import SANDBOXES, Notices
from db.repositories.sandboxes import SandboxRepository
from tests.support.postgres import (
    PostgresServer,
    TestDatabase,
    supabase_server,
    transaction_pooler,
)
from tests.support.records import claims_of, run_sandbox

SECONDS = 20.0


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[UUID | bool] = asyncio.Queue()

    def heard(self, owner_id: UUID) -> None:
        """Take an owner."""
        self._told.put_nowait(owner_id)

    def follow(self, *, complete: bool) -> None:
        """Take whether all is told."""
        self._told.put_nowait(complete)

    async def next(self) -> UUID | bool:
        """Return what was told next."""
        async with asyncio.timeout(SECONDS):
            return await self._told.get()

    async def until(self, wanted: UUID) -> list[UUID | bool]:
        """Return what was told before something."""
        before = []
        while (told := await self.next()) != wanted:
            before.append(told)
        return before


@pytest.fixture
async def database(own_server: PostgresServer) -> AsyncIterator[TestDatabase]:
    """One of a test's own."""
    async with own_server.database() as made:
        yield made


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[tuple[Database, Ear]]:
    """Listen over one connection, and change things over others."""
    ear = Ear()
    async with Database(url) as database, Notices(url, database, ear):
        yield database, ear


async def test_every_change_is_told(database: TestDatabase) -> None:
    """Of the owner whose sandbox was made, changed or removed, once a transaction."""
    user = uuid4()
    async with Database(database.url) as another, listening(database.url) as (_, ear):
        assert await ear.next() is True
        row = await run_sandbox(another, user)
        assert set(await ear.until(await last(another))) <= {user}
        async with another.tenant_session(claims_of(user)) as session:
            await SandboxRepository(session).update_fields(row.id, name="renamed")
        renamed = await ear.next()
        async with another.service_session() as session:
            await session.fetch_row("DELETE FROM sandbox_api.sandboxes WHERE id = $1", row.id)
        removed = await ear.next()

    assert (renamed, removed) == (user, user)


async def last(database: Database) -> UUID:
    """Say something that is told after all that was said before."""
    mark = uuid4()
    async with database.service_session() as session:
        await session.fetch_row("SELECT pg_notify($1, $2)", SANDBOXES, str(mark))
    return mark


async def test_what_users_are_not_shown_is_not_told(database: TestDatabase) -> None:
    """Executions and use of a sandbox say nothing: NOTIFY makes commits wait for each other."""
    user = uuid4()
    async with listening(database.url) as (own, ear):
        await ear.next()
        row = await run_sandbox(own, user)
        await ear.until(await last(own))
        async with own.service_session() as session:
            await session.fetch_row(
                "UPDATE sandbox_api.sandboxes SET last_active_at = now() WHERE id = $1", row.id
            )
        before = await ear.until(await last(own))

    assert before == []


async def test_a_change_that_is_rolled_back_is_not_told(database: TestDatabase) -> None:
    """Word comes with the commit."""
    user = uuid4()
    async with listening(database.url) as (own, ear):
        await ear.next()
        row = await run_sandbox(own, user)
        await ear.until(await last(own))
        with suppress(KeyError):
            async with own.tenant_session(claims_of(user)) as session:
                await SandboxRepository(session).update_fields(row.id, name="renamed")
                raise KeyError
        before = await ear.until(await last(own))

    assert before == []


async def test_it_comes_back_by_itself(
    own_server: PostgresServer, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of the server is told as a time in which changes may have been missed."""
    monkeypatch.setattr("db.notices.RETRY_SECONDS", 0.05)
    user = uuid4()
    async with listening(database.url) as (own, ear):
        begun = await ear.next()
        with capture_logs() as logs:
            await asyncio.to_thread(own_server.restart)
            lost, found = await ear.next(), await ear.next()
        await run_sandbox(own, user)
        told = await ear.next()

    assert (begun, lost, found, told) == (True, False, True, user)
    said = [line["event"] for line in logs if line["event"].startswith("changes_are")]
    assert said == ["changes_are_not_heard", "changes_are_heard"]


async def test_a_connection_that_dies_without_a_word(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word that does not come back from another connection shows it."""
    monkeypatch.setattr("db.notices.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("db.notices.PROBE_SECONDS", 0.05)
    monkeypatch.setattr("db.notices.ECHO_SECONDS", 1.0)
    async with listening(database.url) as (own, ear):
        begun = await ear.next()
        async with own.service_session() as session:
            # What it listens to is cut off, as by a firewall that drops packets.
            row = await session.fetch_row(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'sandbox-api notices'"
                " AND datname = current_database()"
            )
        assert row is not None
        with Stopped(row["pid"]):
            lost = await ear.next()
        found = await ear.next()

    assert (begun, lost, found) == (True, False, True)


class Stopped:
    """A process that hangs for the length of a block."""

    def __init__(self, process: int) -> None:
        self._process = process

    def __enter__(self) -> None:
        os.kill(self._process, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._process, signal.SIGCONT)


async def test_what_is_no_owner_is_passed_over(database: TestDatabase) -> None:
    """Whoever may connect may say anything on the channel."""
    async with listening(database.url) as (own, ear):
        await ear.next()
        async with own.service_session() as session:
            await session.fetch_row("SELECT pg_notify($1, 'rubbish')", SANDBOXES)
        before = await ear.until(await last(own))

    assert before == []


async def test_behind_a_transaction_pooler_nothing_is_relied_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that takes LISTEN and delivers nothing is found out, though no address told of it."""
    monkeypatch.setattr("db.notices.ECHO_SECONDS", 1.0)
    monkeypatch.setattr("db.notices.RETRY_SECONDS", 0.05)
    with supabase_server() as server:
        async with server.database() as database:
            with transaction_pooler(server.sockets, server.app, database.name) as pooled:
                async with listening(pooled) as (_, ear):
                    told = [await ear.next()]

    assert told == [False]
