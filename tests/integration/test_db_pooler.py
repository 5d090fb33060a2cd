"""Behind a transaction pooler, whose server processes change under a connection."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from db import migrate
from db.engine import Database
from db.repositories.sandboxes import SandboxConditions, SandboxRepository
from tests.support.pages import count_of
from tests.support.postgres import supabase_server, transaction_pooler
from tests.support.records import ask_bare, begin_execution, claims_of, run_sandbox

CLIENTS = 8
BARE = (
    "SELECT current_user = session_user,"
    " coalesce(current_setting('request.jwt.claims', true), ''),"
    " (SELECT count(*) FROM pg_prepared_statements WHERE name <> '')"
)


@pytest.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    """A pooler with two server connections before an empty database."""
    with supabase_server() as server:
        async with server.database(migrated=False) as database:
            with transaction_pooler(server.sockets, server.app, database.name) as pooled:
                yield pooled


async def test_migrations(url: str) -> None:
    """Two that migrate at once through the pooler take turns."""
    await asyncio.gather(migrate.upgrade(url), migrate.upgrade(url))

    await migrate.check(url)


async def test_many_users_at_once(url: str) -> None:
    """More clients than server connections: each sees its own rows, and no statement is missed."""
    await migrate.upgrade(url)
    async with Database(url, pool_size=CLIENTS) as database:

        async def work(user: UUID) -> None:
            row = await run_sandbox(database, user)
            for number in range(1, 16):
                begun = await begin_execution(database, user, row.id)
                assert begun is not None
                assert begun.added
                async with database.tenant_session(claims_of(user)) as session:
                    sandboxes = SandboxRepository(session)
                    assert await sandboxes.count(SandboxConditions()) == 1
                    assert (await sandboxes.usage()).unended_executions == number
                    assert await count_of(session, row.id) == number

        await asyncio.gather(*(work(uuid4()) for _ in range(CLIENTS)))


async def test_nothing_is_left_on_the_server(url: str) -> None:
    """Neither a role nor claims nor a named statement stays on a server connection."""
    await migrate.upgrade(url)
    async with Database(url, pool_size=CLIENTS) as database:
        for _ in range(10):
            await run_sandbox(database, uuid4())
        async with database.service_session() as session:
            row = await session.fetch_row(
                "SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS named,"
                " auth.uid() AS who"
            )

    assert row is not None
    assert (row["named"], row["who"]) == (0, None)


async def test_calls_leave_nothing_on_the_server(url: str) -> None:
    """Calls of many users go over the same server connections, and none meets another's rights."""
    await migrate.upgrade(url)
    async with Database(url, pool_size=CLIENTS) as database:
        users = [uuid4() for _ in range(CLIENTS)]
        rows = [await run_sandbox(database, user) for user in users]

        async def work(number: int) -> None:
            theirs = rows[number - 1].id
            for unended in range(10):
                begun = await begin_execution(database, users[number], rows[number].id)
                assert begun is not None
                assert (begun.added, begun.unended) == (True, unended)
                assert await begin_execution(database, users[number], theirs) is None

        await asyncio.gather(*(work(number) for number in range(CLIENTS)))
        bare = await asyncio.gather(*(ask_bare(database, BARE) for _ in range(CLIENTS)))

    assert {tuple(row.values()) for row in bare} == {(True, "", 0)}
