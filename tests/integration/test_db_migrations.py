"""The same migrations on an empty server and on one that is Supabase's already."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from db import export, migrate
from db.errors import DatabaseUnavailableError, MigrationError
from tests.support.postgres import SERVERS, PostgresServer, TestDatabase, supabase_server

# What makes up a database's behaviour, in an order that does not depend on its history.
SHAPE = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'sandbox_api' ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'sandbox_api'::regnamespace AND contype <> 'n' ORDER BY 1, 2""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'sandbox_api' ORDER BY 1, 2""",
    "policies": """
        SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check
        FROM pg_policies WHERE schemaname = 'sandbox_api' ORDER BY 1, 2""",
    "grants": """
        SELECT table_name, column_name, grantee, privilege_type
        FROM information_schema.column_privileges
        WHERE table_schema = 'sandbox_api'
        AND grantee IN ('anon', 'authenticated', 'service_role', 'PUBLIC') ORDER BY 1, 2, 3, 4""",
    "security": """
        SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class
        WHERE relnamespace = 'sandbox_api'::regnamespace AND relkind = 'r' ORDER BY 1""",
    "revision": "SELECT version_num FROM sandbox_api.alembic_version",
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Both servers, one after the other."""
    with SERVERS[request.param]() as started:
        yield started


async def shape_of(database: TestDatabase) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that the migrations make."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        return {
            name: [tuple(row) for row in await connection.fetch(query)]
            for name, query in SHAPE.items()
        }
    finally:
        await connection.close()


async def test_no_drift(server: PostgresServer) -> None:
    """The migrations make what the tables declare."""
    async with server.database() as database:
        await migrate.check(database.url)


async def test_drift_is_found(server: PostgresServer) -> None:
    """A database that differs from what the tables declare is told."""
    async with server.database() as database:
        await server.run(database.name, "ALTER TABLE sandbox_api.sandboxes DROP COLUMN name")

        with pytest.raises(MigrationError, match="name"):
            await migrate.check(database.url)


async def test_twice(server: PostgresServer) -> None:
    """Migrating what is migrated changes nothing."""
    async with server.database() as database:
        before = await shape_of(database)
        await migrate.upgrade(database.url)

        assert await shape_of(database) == before


async def test_two_processes_at_once(server: PostgresServer) -> None:
    """Of processes that migrate at once, one does, and none fails."""
    async with server.database(migrated=False) as database:
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "db.migrate", "--url", database.url
            )
            for _ in range(3)
        ]

        assert [await process.wait() for process in processes] == [0, 0, 0]
        await migrate.check(database.url)


async def test_failure_leaves_nothing(server: PostgresServer) -> None:
    """A migration that fails is rolled back as a whole, and says what is in the way."""
    async with server.database(migrated=False) as database:
        await server.run(
            database.name,
            f"CREATE SCHEMA sandbox_api AUTHORIZATION {server.app};"
            f" SET ROLE {server.app}; CREATE TABLE sandbox_api.packages ()",
        )

        with pytest.raises(MigrationError, match="packages"):
            await migrate.upgrade(database.url)
        await server.run(database.name, "DROP TABLE sandbox_api.packages")
        await migrate.upgrade(database.url)

        await migrate.check(database.url)


async def test_user_that_owns_nothing(server: PostgresServer) -> None:
    """A user that may not make the tables is told what it lacks."""
    async with server.database(migrated=False) as database:
        await server.run("postgres", "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")

        with pytest.raises(MigrationError, match="own the database"):
            await migrate.upgrade(server.url("guest", database.name))


async def test_no_server() -> None:
    """Without a server, migrating says that it is unavailable."""
    with pytest.raises(DatabaseUnavailableError):
        await migrate.upgrade("postgresql://app@/app?host=/nonexistent")


async def test_exported_sql(server: PostgresServer) -> None:
    """The SQL for the Supabase CLI makes the same as the migrations, which then find no work."""
    async with server.database() as migrated, server.database(migrated=False) as database:
        connection = await asyncpg.connect(database.url)
        try:
            for content in export.written().values():
                await connection.execute(content)
        finally:
            await connection.close()
        await migrate.upgrade(database.url)

        assert await shape_of(database) == await shape_of(migrated)


async def test_supabase_stays_as_it_is() -> None:
    """Roles, the auth schema and its functions are Supabase's, and nothing refers to its users."""
    roles = "SELECT rolname, rolinherit, rolbypassrls, rolcanlogin FROM pg_roles ORDER BY 1"
    functions = (
        "SELECT proname, prosrc, proowner::regrole::text FROM pg_proc"
        " WHERE pronamespace = 'auth'::regnamespace ORDER BY 1"
    )
    references = "SELECT count(*) FROM pg_constraint WHERE confrelid = 'auth.users'::regclass"
    with supabase_server() as server:
        async with server.database(migrated=False) as database:
            connection = await asyncpg.connect(database.superuser_url)
            try:
                before = [await connection.fetch(query) for query in (roles, functions)]
                await migrate.upgrade(database.url)

                assert [await connection.fetch(query) for query in (roles, functions)] == before
                assert await connection.fetchval(references) == 0
            finally:
                await connection.close()


def test_export_is_up_to_date() -> None:
    """The files that are committed are what would be written now."""
    assert export.differences() == []
