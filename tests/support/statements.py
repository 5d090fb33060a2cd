"""A user with many records, and services whose statements and calls of sessions are counted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from asyncpg.connection import LoggedQuery
from sqlalchemy import event
from strawberry.types import ExecutionResult

from db.engine import Database
from db.sessions import DriverConnection
from resolvers.context import Context, Services
from schema.build import build_schema
from services.assembly import assemble
from services.entities import Viewer
from tests.support.postgres import TestDatabase
from tests.support.rooms import SECRET_KEY, a_viewer, settings
from tests.support.scripted_executor import ScriptedExecutor
from tests.support.scripted_sessions import ScriptedSession

SCHEMA = build_schema()
BEGIN = "BEGIN"
_MAKE = """
WITH made AS (
    INSERT INTO sandbox_api.sandboxes
        (id, owner_id, name, status, session_id, image, idle_timeout_seconds, lifetime_seconds,
        created_at)
    SELECT id, $1, 'box ' || n, $4, 'session-' || id, 'plain', 60, 60,
        now() + n * interval '1 second'
    FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, $2::int) AS n) AS wanted
    RETURNING id, owner_id
), listed AS (
    INSERT INTO sandbox_api.packages (sandbox_id, owner_id, name, version)
    SELECT id, owner_id, name, id::text FROM made, unnest(ARRAY['b', 'a']) AS name
)
INSERT INTO sandbox_api.executions
    (id, sandbox_id, owner_id, session_id, kind, code, status, stdout, finished_at, created_at)
SELECT gen_random_uuid(), id, owner_id, 'gone', 'CODE', convert_to(m::text, 'UTF8'), 'SUCCEEDED',
    convert_to(id::text, 'UTF8'), now(), now() + m * interval '1 second'
FROM made, generate_series(1, $3::int) AS m
"""


@dataclass
class Counted:
    """A user at services that are counted."""

    services: Services
    viewer: Viewer
    executor: ScriptedExecutor
    statements: list[str] = field(default_factory=list)

    @property
    def transactions(self) -> int:
        """How many the last operation took."""
        return self.statements.count(BEGIN)

    @property
    def calls(self) -> int:
        """How many calls of sessions the last operation took."""
        return self.executor.calls.total()

    async def run(self, query: str, **variables: object) -> ExecutionResult:
        """Run an operation, and count anew."""
        self.statements.clear()
        self.executor.calls.clear()
        context = Context(self.services, "request", self.viewer)
        return await SCHEMA.execute(query, variable_values=variables, context_value=context)

    async def ask(self, query: str, **variables: object) -> tuple[Any, list[str]]:
        """Return what a query answers, and the statements that it took."""
        result = await self.run(query, **variables)
        assert result.errors is None
        return result.data, [each for each in self.statements if each != BEGIN]


@asynccontextmanager
async def counted(made: TestDatabase) -> AsyncIterator[Counted]:
    """Open services over connections that tell what they send."""
    statements: list[str] = []

    def note(query: LoggedQuery) -> None:
        # SQLAlchemy prepares its statements itself, and asyncpg tells of the others.
        if query.query.startswith(BEGIN):
            statements.append(BEGIN)

    executor = ScriptedExecutor()
    async with Database(made.url) as database:

        @event.listens_for(database._engine.sync_engine, "connect")
        def listen(connection: Any, _record: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapter
            connection.driver_connection.add_query_logger(note)

        @event.listens_for(database._engine.sync_engine, "before_cursor_execute")
        def execute(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement)

        async with assemble(database, executor, settings(), SECRET_KEY) as assembled:
            services = Services(
                sandboxes=assembled.sandboxes,
                executions=assembled.executions,
                pages=assembled.pages,
                packages=assembled.packages,
                files=assembled.files,
            )
            yield Counted(services, a_viewer(), executor, statements)


@asynccontextmanager
async def as_superuser(made: TestDatabase) -> AsyncIterator[DriverConnection]:
    """Reach behind every policy."""
    connection = await asyncpg.connect(made.superuser_url)
    try:
        yield connection
    finally:
        await connection.close()


async def make_records(
    made: TestDatabase,
    user: Counted,
    sandboxes: int,
    executions: int = 0,
    *,
    status: str = "STOPPED",
    later: str = "n",
) -> None:
    """Add sandboxes, `box 1` the oldest, with executions and two packages each.

    `later` is how many seconds from now each was made, `n` its number. RUNNING ones have
    their sessions.
    """
    async with as_superuser(made) as connection:
        statement = _MAKE.replace("now() + n *", f"now() + {later} *")
        await connection.execute(statement, user.viewer.id, sandboxes, executions, status)
        names = await connection.fetch(
            "SELECT session_id FROM sandbox_api.sandboxes WHERE owner_id = $1 AND status = $2",
            user.viewer.id,
            "RUNNING",
        )
    for (name,) in names:
        user.executor.sessions[name] = ScriptedSession(name)
