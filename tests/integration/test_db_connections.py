"""Connections that are cut, lost or used up: the pool recovers, and makes no trip too many."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from db.engine import KEPT, Database
from db.errors import DatabaseUnavailableError
from db.repositories.sandboxes import SandboxRepository
from tests.support.postgres import SERVERS, PostgresServer, TestDatabase
from tests.support.records import (
    BARE,
    a_sandbox,
    ask_bare,
    begin_execution,
    claims_of,
    insert_sandbox,
    run_sandbox,
)
from tests.support.sessions import until
from tests.support.turns import counted

CONNECTED = "SELECT array_agg(pid) AS pids FROM pg_stat_activity WHERE datname = current_database()"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Both servers, one after the other."""
    with SERVERS[request.param]() as started:
        yield started


@pytest.fixture(scope="module")
async def made(server: PostgresServer) -> AsyncIterator[TestDatabase]:
    """A migrated database."""
    async with server.database() as database:
        yield database


async def test_connections_that_were_cut(made: TestDatabase) -> None:
    """After an operator ended every connection, the next transactions work, without an error."""
    async with Database(made.url, pool_size=4) as database:
        for _ in range(3):
            await asyncio.gather(*(database.ping() for _ in range(4)))
            await made.server.run(
                made.name,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )

            await asyncio.gather(*(database.ping() for _ in range(8)))


async def test_a_call_over_a_connection_that_was_cut(made: TestDatabase) -> None:
    """A call that meets a dead connection is made over another, and adds what it adds once."""
    user = uuid4()
    async with Database(made.url, pool_size=4) as database:
        row = await run_sandbox(database, user)
        for number in range(3):
            await asyncio.gather(*(database.ping() for _ in range(4)))
            await made.server.run(
                made.name,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            begun = await begin_execution(database, user, row.id)

            assert begun is not None
            assert (begun.added, begun.unended) == (True, number)


async def test_connections_that_calls_keep(made: TestDatabase) -> None:
    """A few stay out of the pool between calls, with nobody's rights; all close with it."""
    users = [uuid4() for _ in range(6)]
    async with Database(made.url, pool_size=4, checkout_timeout=5) as database:
        rows = [await run_sandbox(database, user) for user in users]
        for _ in range(3):
            calls = (
                begin_execution(database, user, row.id)
                for user, row in zip(users, rows, strict=True)
            )
            begun = await asyncio.gather(*calls)
            assert all(one is not None and one.added for one in begun)
        kept = [await ask_bare(database, BARE, connection) for connection in database._kept]
        async with database.service_session(), database.service_session():
            """The rest of the pool is there for everybody."""

    assert len({one["pid"] for one in kept}) == KEPT
    for one in kept:
        assert (one["own"], one["claims"], one["locks"]) == (True, "", 0)

    async def closed() -> bool:
        async with Database(made.url, pool_size=1) as database:
            found = await ask_bare(database, CONNECTED)
        return not {one["pid"] for one in kept} & set(found["pids"])

    await until(closed)


async def test_restart(made: TestDatabase) -> None:
    """While the server is down, it is unavailable; afterwards all works by itself."""
    user = uuid4()
    async with Database(made.url, pool_size=3) as database:
        await asyncio.gather(*(database.ping() for _ in range(3)))
        await asyncio.to_thread(made.server.halt)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailableError):
                await insert_sandbox(database, user)
        await asyncio.to_thread(made.server.restart)

        row = await insert_sandbox(database, user)
        async with database.tenant_session(claims_of(user)) as session:
            assert await SandboxRepository(session).get(row.id) is not None


async def test_lost_in_a_transaction(made: TestDatabase) -> None:
    """A transaction whose server goes away says so by our error, and the pool recovers."""
    user = uuid4()
    async with Database(made.url, pool_size=1) as database:

        async def work() -> None:
            async with database.tenant_session(claims_of(user)) as session:
                await SandboxRepository(session).insert(a_sandbox(user))
                await asyncio.to_thread(made.server.restart)
                await SandboxRepository(session).usage()

        with pytest.raises(DatabaseUnavailableError):
            await work()

        async with database.tenant_session(claims_of(user)) as session:
            assert (await SandboxRepository(session).usage()).sandboxes == 0


async def test_pool_that_is_used_up(made: TestDatabase) -> None:
    """Who gets no connection in time is told to try again, instead of hanging."""
    async with (
        Database(made.url, pool_size=1, checkout_timeout=0.2) as database,
        database.service_session(),
    ):
        with pytest.raises(DatabaseUnavailableError):
            await database.ping()


async def test_nobody_listens() -> None:
    """Without a server, the error comes at once."""
    async with Database("postgresql://app@/app?host=/nonexistent") as database:
        with pytest.raises(DatabaseUnavailableError):
            await database.ping()


async def test_round_trips(made: TestDatabase) -> None:
    """The hot path asks the server once, a session three times: begin, the statement, commit."""
    user = uuid4()
    socket = made.server.sockets / ".s.PGSQL.5432"
    with tempfile.TemporaryDirectory() as folder:
        async with (
            counted(socket, Path(folder) / socket.name) as turns,
            Database(
                f"postgresql://{made.server.app}@/{made.name}?host={folder}", pool_size=1
            ) as database,
        ):
            row = await run_sandbox(database, user)

            async def look() -> None:
                async with database.tenant_session(claims_of(user)) as session:
                    await SandboxRepository(session).get(row.id)

            async def begin() -> None:
                await begin_execution(database, user, row.id)

            for work, asked in ((begin, 1), (look, 3)):
                # Each statement is prepared once a connection.
                await work()
                before = turns.number
                await work()

                assert turns.number - before == asked
