"""Records for the database's tests, as the services would make them."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Database, _driver_of
from db.repositories import executions
from db.repositories.executions import Begun, ExecutionRepository
from db.repositories.sandboxes import NewSandboxRow, SandboxRepository
from db.tables import ExecutionRow, SandboxRow

BARE = (
    "SELECT current_user = session_user AS own, pg_backend_pid() AS pid,"
    " coalesce(current_setting('request.jwt.claims', true), '') AS claims,"
    " current_setting('lock_timeout') AS lock_timeout,"
    " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
    " AS locks"
)
"""What a connection has that nobody has given any rights."""


def claims_of(user: UUID) -> dict[str, object]:
    """Return what a verified token of a user's says."""
    return {"sub": str(user), "role": "authenticated", "aud": "authenticated"}


def a_sandbox(owner: UUID, **values: object) -> NewSandboxRow:
    """Return a new sandbox of a user's."""
    return NewSandboxRow(
        id=uuid4(),
        owner_id=owner,
        image="default",
        idle_timeout_seconds=3600,
        lifetime_seconds=86400,
        **values,  # type: ignore[arg-type] # whatever the test is about
    )


async def insert_sandbox(database: Database, owner: UUID, **values: object) -> SandboxRow:
    """Add a STOPPED sandbox of a user's."""
    async with database.tenant_session(claims_of(owner)) as session:
        row = await SandboxRepository(session).insert(a_sandbox(owner, **values))
    assert row is not None
    return row


async def run_sandbox(database: Database, owner: UUID) -> SandboxRow:
    """Add a RUNNING sandbox of a user's."""
    row = await insert_sandbox(database, owner)
    operation = uuid4()
    async with database.tenant_session(claims_of(owner)) as session:
        sandboxes = SandboxRepository(session)
        await sandboxes.begin_operation(
            row.id,
            from_statuses=["STOPPED"],
            to_status="STARTING",
            operation_id=operation,
            deadline=datetime.now(UTC) + timedelta(minutes=1),
            session_id=f"00000000-{uuid4().hex}",
        )
        running = await sandboxes.finish_operation(row.id, operation, "RUNNING")
    assert running is not None
    return running


async def begin_execution(
    database: Database,
    owner: UUID,
    sandbox_id: UUID,
    *,
    execution_id: UUID | None = None,
    kind: str = "CODE",
    code: bytes = b"1",
    client_id: str | None = None,
    max_unended: int = 20,
    max_recent: int | None = None,
) -> Begun | None:
    """Ask for an execution, as `executeCode` does."""
    return await database.call_as_tenant(
        claims_of(owner),
        lambda call: executions.begin_execution(
            call,
            sandbox_id,
            execution_id or uuid4(),
            kind=kind,
            code=code,
            client_execution_id=client_id,
            max_unended=max_unended,
            max_recent=max_recent,
        ),
    )


async def ask_bare(
    database: Database, statement: str, kept: AsyncConnection | None = None
) -> asyncpg.Record:
    """Ask over one of the pool's connections, with no rights but those that it came with."""
    async with nullcontext(kept) if kept else database._engine.connect() as connection:
        driver, _ = _driver_of(connection)
        row = await driver.fetchrow(statement)
    assert row is not None
    return row


def soon() -> datetime:
    """Return an operation's deadline that does not pass in a test."""
    return datetime.now(UTC) + timedelta(minutes=5)


async def get_execution(database: Database, owner: UUID, execution_id: UUID) -> ExecutionRow | None:
    """Read an execution as its owner."""
    async with database.tenant_session(claims_of(owner)) as session:
        return await ExecutionRepository(session).get(execution_id)
