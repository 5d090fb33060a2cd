"""Row-level security, by SQL under the roles that Supabase's tokens have."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.engine import Database
from db.repositories.leases import LeaseRepository
from db.repositories.running import RunningRepository
from tests.support.postgres import SERVERS, TestDatabase
from tests.support.records import begin_execution, claims_of, insert_sandbox, run_sandbox

A, B = uuid4(), uuid4()
TABLES = ["sandboxes", "executions", "packages", "leases", "alembic_version"]
SECRET = b"A's own secret"

type Connection = asyncpg.Connection[asyncpg.Record]


@pytest.fixture(scope="module", params=SERVERS)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[TestDatabase]:
    """Two users: A has a running sandbox with an execution and a package, B an empty one."""
    with SERVERS[request.param]() as server:
        async with server.database() as made, Database(made.url) as opened:
            sandbox = await run_sandbox(opened, A)
            await insert_sandbox(opened, A, environment_encrypted=SECRET)
            await begin_execution(opened, A, sandbox.id, client_id="mine")
            await insert_sandbox(opened, B)
            async with opened.service_session() as session:
                await RunningRepository(session).replace_packages(
                    sandbox.id, A, [("numpy", "2.1.0")]
                )
                assert await LeaseRepository(session).acquire("reaper", "me", 60)
            yield made


@asynccontextmanager
async def acting_as(
    database: TestDatabase, role: str, user: UUID | None
) -> AsyncIterator[Connection]:
    """Open a transaction with a role and claims, as Supabase's REST server would."""
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            claims = "" if user is None else json.dumps({"sub": str(user)})
            await connection.execute(
                "SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
                role,
                claims,
            )
            yield connection
    finally:
        await connection.close()


async def ids_of(database: TestDatabase, table: str, owner: UUID) -> list[UUID]:
    """Look behind the policies for a user's rows."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        found = await connection.fetch(
            f"SELECT id FROM sandbox_api.{table} WHERE owner_id = $1 ORDER BY session_id",  # noqa: S608 # our own table
            owner,
        )
    finally:
        await connection.close()
    return [row["id"] for row in found]


async def test_user_sees_only_own_rows(database: TestDatabase) -> None:
    """Without any WHERE, B sees B's sandbox and nothing of A's."""
    async with acting_as(database, "authenticated", B) as connection:
        owners = await connection.fetch("SELECT owner_id FROM sandbox_api.sandboxes")
        executions = await connection.fetchval("SELECT count(*) FROM sandbox_api.executions")
        packages = await connection.fetchval("SELECT count(*) FROM sandbox_api.packages")

    assert [row["owner_id"] for row in owners] == [B]
    assert (executions, packages) == (0, 0)


async def test_user_sees_all_of_own(database: TestDatabase) -> None:
    """A sees A's two sandboxes, execution and package."""
    async with acting_as(database, "authenticated", A) as connection:
        sandboxes = await connection.fetchval("SELECT count(*) FROM sandbox_api.sandboxes")
        executions = await connection.fetchval("SELECT count(*) FROM sandbox_api.executions")
        packages = await connection.fetchval("SELECT count(*) FROM sandbox_api.packages")

    assert (sandboxes, executions, packages) == (2, 1, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sandbox_api.sandboxes SET name = 'taken'",
        "DELETE FROM sandbox_api.sandboxes",
    ],
)
async def test_user_changes_only_own_rows(database: TestDatabase, statement: str) -> None:
    """Without any WHERE, B changes and deletes B's one row."""
    connection = await asyncpg.connect(database.url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL ROLE authenticated")
        await connection.execute(
            "SELECT set_config('request.jwt.claims', $1, true)", json.dumps({"sub": str(B)})
        )
        done = await connection.execute(statement)
        await transaction.rollback()
    finally:
        await connection.close()

    assert done.endswith(" 1")


async def test_nobody_without_claims(database: TestDatabase) -> None:
    """A transaction that has the role and no claims sees nothing."""
    async with acting_as(database, "authenticated", None) as connection:
        for table in ("sandboxes", "executions", "packages"):
            assert await connection.fetchval(f"SELECT count(*) FROM sandbox_api.{table}") == 0  # noqa: S608 # our own tables


FORBIDDEN = {
    "read the encrypted environment": "SELECT environment_encrypted FROM sandbox_api.sandboxes",
    "read whole rows": "SELECT * FROM sandbox_api.sandboxes",
    "return the encrypted environment": (
        "UPDATE sandbox_api.sandboxes SET name = '' RETURNING environment_encrypted"
    ),
    "filter by the encrypted environment": (
        "SELECT id FROM sandbox_api.sandboxes WHERE environment_encrypted IS NOT NULL"
    ),
    "replace the environment": "UPDATE sandbox_api.sandboxes SET environment_encrypted = ''",
    "give a sandbox away": f"UPDATE sandbox_api.sandboxes SET owner_id = '{A}'",  # noqa: S608 # a made-up id
    "change the image": "UPDATE sandbox_api.sandboxes SET image = 'other'",
    "rewrite an execution": "UPDATE sandbox_api.executions SET stdout = ''",
    "remove an execution": "DELETE FROM sandbox_api.executions",
    "write a package": (
        f"INSERT INTO sandbox_api.packages VALUES (gen_random_uuid(), 'x', '{B}', '1')"  # noqa: S608 # a made-up id
    ),
    "see the leases": "SELECT count(*) FROM sandbox_api.leases",
    "take a lease": "INSERT INTO sandbox_api.leases VALUES ('reaper', 'b', now())",
    "see the migrations": "SELECT count(*) FROM sandbox_api.alembic_version",
    "empty a table": "TRUNCATE sandbox_api.sandboxes CASCADE",
    "make a table": "CREATE TABLE sandbox_api.mine ()",
    "switch the policies off": "ALTER TABLE sandbox_api.sandboxes DISABLE ROW LEVEL SECURITY",
    "forge the owner": (
        "INSERT INTO sandbox_api.sandboxes"  # noqa: S608 # a made-up id
        " (id, owner_id, status, image, idle_timeout_seconds, lifetime_seconds)"
        f" VALUES (gen_random_uuid(), '{A}', 'STOPPED', 'default', 1, 1)"  # a made-up id
    ),
}


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN.keys())
async def test_user_may_not(database: TestDatabase, statement: str) -> None:
    """What a user's transaction does not need, it may not do."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(database, "authenticated", B) as connection:
            await connection.execute(statement)


@pytest.mark.parametrize("owner", [A, B])
async def test_execution_of_anothers_sandbox(database: TestDatabase, owner: UUID) -> None:
    """B can't attach an execution to A's sandbox, under either name."""
    theirs = (await ids_of(database, "sandboxes", A))[0]

    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError)):
        async with acting_as(database, "authenticated", B) as connection:
            await connection.execute(
                "INSERT INTO sandbox_api.executions (id, owner_id, sandbox_id, kind, code, status)"
                " VALUES (gen_random_uuid(), $1, $2, 'CODE', '', 'QUEUED')",
                owner,
                theirs,
            )


async def test_service_can_not_mix_owners(database: TestDatabase) -> None:
    """Even background work can't give an execution another owner than its sandbox's."""
    theirs = (await ids_of(database, "sandboxes", A))[0]

    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with acting_as(database, "service_role", None) as connection:
            await connection.execute(
                "INSERT INTO sandbox_api.packages VALUES ($1, 'x', $2, '1')", theirs, B
            )


@pytest.mark.parametrize("table", TABLES)
async def test_anonymous_sees_nothing(database: TestDatabase, table: str) -> None:
    """`anon` does not even get into the schema."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        await connection.execute("SET ROLE anon")

        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT count(*) FROM sandbox_api.{table}")  # noqa: S608 # our own tables
    finally:
        await connection.close()


async def test_every_table_is_closed(database: TestDatabase) -> None:
    """Every table of the schema has row-level security, forced where it holds records."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        tables = await connection.fetch(
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
            " WHERE relnamespace = 'sandbox_api'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"
        )
    finally:
        await connection.close()

    assert {row["relname"] for row in tables} == set(TABLES)
    assert all(row["relrowsecurity"] for row in tables)
    assert all(row["relforcerowsecurity"] for row in tables if row["relname"] != "alembic_version")


async def test_nothing_in_public(database: TestDatabase) -> None:
    """The schema that Supabase serves to every token stays empty."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        things = await connection.fetchval(
            "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
            " + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)"
        )
    finally:
        await connection.close()

    assert things == 0


async def test_own_environment_can_be_given(database: TestDatabase) -> None:
    """A user's transaction writes an environment that background work reads."""
    async with Database(database.url) as opened:
        row = await insert_sandbox(opened, A, environment_encrypted=SECRET)
        async with opened.service_session() as session:
            kept = await RunningRepository(session).environment(row.id)
        async with opened.tenant_session(claims_of(A)) as session:
            await session.fetch_row("DELETE FROM sandbox_api.sandboxes WHERE id = $1", row.id)

    assert kept == SECRET
