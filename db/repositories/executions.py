"""A user's executions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal
from sqlalchemy.orm import defer
from sqlalchemy.sql.base import ExecutableOption
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from db.repositories.parameters import among, is_one
from db.repositories.running import UnendedExecution
from db.sessions import TenantCall, TenantSession
from db.tables import SCHEMA, UNENDED_STATUSES, ExecutionRow

# The hot path's only statement: see the function's migration.
BEGIN = f"SELECT * FROM {SCHEMA}.begin_execution($1, $2, $3, $4, $5, $6, $7, $8, $9)"  # noqa: S608 # the schema's name is ours

BUSY = (
    select(col(ExecutionRow.sandbox_id))
    .where(among(col(ExecutionRow.sandbox_id)), col(ExecutionRow.status).in_(UNENDED_STATUSES))
    .distinct()
)

LARGE = ("code", "stdout", "stderr", "results")


@dataclass(frozen=True, slots=True)
class Begun:
    """What came of asking for an execution; all but `execution_id` is the sandbox's."""

    execution_id: UUID | None
    """The new one, or the one that has the client's id already; None where neither is."""
    added: bool
    status: str
    deleting: bool
    session_id: str | None
    node_id: str | None
    unended: int
    """How many of the owner's executions had not ended before, over all sandboxes."""
    created_at: datetime | None
    """When the new one was added."""
    recent: int
    """How many of this kind there were in the last minute; 0 where there is no limit."""


async def begin_execution(
    call: TenantCall,
    sandbox_id: UUID,
    execution_id: UUID,
    *,
    kind: str,
    code: bytes,
    client_execution_id: str | None,
    max_unended: int,
    max_recent: int | None = None,
) -> Begun | None:
    """Add a QUEUED execution where the sandbox is RUNNING and the limits leave room.

    Return None where the user has no such sandbox. The limits and the client's id hold
    against the same user's other requests. The same again answers that it is there.
    """
    row = await call.fetch_row(
        BEGIN, sandbox_id, execution_id, kind, client_execution_id, code, max_unended, max_recent
    )
    if row is None:
        return None
    return Begun(
        execution_id=row["added_id"] or row["known_id"],
        added=row["added_id"] is not None,
        status=row["status"],
        deleting=row["deleting"],
        session_id=row["session_id"],
        node_id=row["node_id"],
        unended=row["unended"],
        created_at=row["created_at"],
        recent=row["recent"],
    )


@dataclass(frozen=True, slots=True)
class PageSize:
    """How many executions a page has, and how many bytes what is large of them takes."""

    executions: int
    large_bytes: int

    @classmethod
    def of(cls, rows: Sequence[ExecutionRow]) -> "PageSize":
        """Measure rows that have been read whole."""
        return cls(len(rows), sum(len(getattr(row, name)) for row in rows for name in LARGE))


class ExecutionRepository:
    """Reads what row-level security shows of the executions, and adds to it."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def get(self, execution_id: UUID, *, large: bool = True) -> ExecutionRow | None:
        """Return one, None where the user has none of this id.

        Without `large` it lacks code, output and results, and raises where one is asked for.
        """
        return await self._session.scalar(_one(large=large), params={"one": execution_id})

    async def get_many(self, ids: Collection[UUID]) -> Sequence[ExecutionRow]:
        """Return those that there are, in any order."""
        found = await self._session.exec(select(ExecutionRow).where(col(ExecutionRow.id).in_(ids)))
        return found.all()

    async def by_client_id(self, sandbox_id: UUID, client_execution_id: str) -> ExecutionRow | None:
        """Return the one that the client began under this id of its own."""
        return await self._session.scalar(
            select(ExecutionRow).where(
                col(ExecutionRow.sandbox_id) == sandbox_id,
                col(ExecutionRow.client_execution_id) == client_execution_id,
            )
        )

    async def size(self, execution_id: UUID) -> PageSize:
        """Measure what `get` would return, without reading it: Postgres keeps the lengths."""
        statement = select(large_bytes()).where(col(ExecutionRow.id) == execution_id)
        found = await self._session.scalar(statement)
        return PageSize(0, 0) if found is None else PageSize(1, found)

    async def unended(self) -> Sequence[UnendedExecution]:
        """Return all of the user's that are queued or running as far as the records know."""
        found = await self._session.exec(
            select(
                col(ExecutionRow.id),
                col(ExecutionRow.sandbox_id),
                col(ExecutionRow.session_id),
                col(ExecutionRow.created_at),
            ).where(col(ExecutionRow.status).in_(UNENDED_STATUSES))
        )
        return [UnendedExecution(*row) for row in found]

    async def busy_sandboxes(self, sandbox_ids: Collection[UUID]) -> frozenset[UUID]:
        """Return which of the sandboxes have something queued or running."""
        return frozenset(await self._session.exec(BUSY, params={"ids": list(sandbox_ids)}))


@cache
def _one(*, large: bool) -> SelectOfScalar[ExecutionRow]:
    one = select(ExecutionRow).where(is_one(col(ExecutionRow.id)))
    return one.options(*columns(ExecutionRow, large=large))


def large_bytes() -> ColumnElement[int]:
    """Say how many bytes what is large of a row takes."""
    return sum((func.octet_length(getattr(ExecutionRow, name)) for name in LARGE), literal(0))


def columns(row: type[ExecutionRow], *, large: bool) -> list[ExecutableOption]:
    """Say which columns a query of the table, or of an alias of it, reads."""
    if large:
        return []
    # sqlmodel types an attribute as its value.
    return [defer(cast("Any", getattr(row, name)), raiseload=True) for name in LARGE]
