"""A user's sandboxes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Unpack
from uuid import UUID

from sqlalchemy import ColumnElement, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from db.repositories.operations import OperationRepository, SandboxFields
from db.repositories.parameters import MOST, among, is_older, is_one, newest_first, of_page
from db.repositories.slices import Position, Slice
from db.sessions import TenantSession
from db.tables import UNENDED_STATUSES, ExecutionRow, SandboxRow

RUNNING_STATUSES = ("STARTING", "RUNNING")
ONE = select(SandboxRow).where(is_one(col(SandboxRow.id)))
MANY = select(SandboxRow).where(among(col(SandboxRow.id)))
USAGE = select(
    select(func.count()).select_from(SandboxRow).scalar_subquery(),
    select(func.count()).where(col(SandboxRow.status).in_(RUNNING_STATUSES)).scalar_subquery(),
    select(func.count()).where(col(ExecutionRow.status).in_(UNENDED_STATUSES)).scalar_subquery(),
)


@dataclass(frozen=True, slots=True)
class SandboxConditions:
    """Which sandboxes to list: None is any."""

    statuses: Collection[str] | None = None
    labels: Mapping[str, str] | None = None
    """Every pair has to be there."""
    name_contains: str | None = None
    """Whatever the case of its letters."""


@dataclass(frozen=True, slots=True)
class NewSandboxRow:
    """What a sandbox begins with."""

    id: UUID
    owner_id: UUID
    image: str
    idle_timeout_seconds: float
    lifetime_seconds: float
    name: str | None = None
    labels: Mapping[str, str] | None = None
    environment_names: Sequence[str] = ()
    environment_encrypted: bytes | None = None
    idempotency_key: str | None = None
    status: str = "STOPPED"


@dataclass(frozen=True, slots=True)
class Usage:
    """How much the user has now."""

    sandboxes: int
    running: int
    """Starting ones included."""
    unended_executions: int


class SandboxRepository(OperationRepository[TenantSession]):
    """Reads and writes what row-level security shows of the sandboxes: the user's own."""

    async def get(self, sandbox_id: UUID) -> SandboxRow | None:
        """Return one, None where the user has none of this id."""
        return await self._session.scalar(ONE, params={"one": sandbox_id})

    async def get_many(self, ids: Collection[UUID]) -> Sequence[SandboxRow]:
        """Return those that there are, in any order."""
        found = await self._session.exec(MANY, params={"ids": list(ids)})
        return found.all()

    async def get_by_idempotency_key(self, key: str) -> SandboxRow | None:
        """Return the one that was made with this key."""
        return await self._session.scalar(
            select(SandboxRow).where(col(SandboxRow.idempotency_key) == key)
        )

    async def page(
        self, conditions: SandboxConditions, first: int, after: Position | None = None
    ) -> Slice[SandboxRow]:
        """Return the newest after a position."""
        statement = _page(after=after is not None)
        if clauses := _where(conditions):
            statement = statement.where(*clauses)
        found = await self._session.exec(statement, params=of_page(first + 1, after))
        return Slice.of(found.all(), first)

    async def count(self, conditions: SandboxConditions) -> int:
        """Count those that `page` would list."""
        statement = select(func.count()).select_from(SandboxRow).where(*_where(conditions))
        return await self._session.scalar(statement) or 0

    async def usage(self) -> Usage:
        """Count what the limits are about; it stays true in a serialized session."""
        return Usage(*(await self._session.exec(USAGE)).one())

    async def stamps(self, sandbox_id: UUID | None = None) -> Sequence[tuple[UUID, datetime]]:
        """Return id and time of the last change of all, or of one."""
        statement = select(col(SandboxRow.id), col(SandboxRow.updated_at))
        if sandbox_id is not None:
            statement = statement.where(col(SandboxRow.id) == sandbox_id)
        return (await self._session.exec(statement)).all()

    async def insert(self, new: NewSandboxRow) -> SandboxRow | None:
        """Add one; None where its idempotency key has been used by this user."""
        values = {
            "id": new.id,
            "owner_id": new.owner_id,
            "name": new.name,
            "status": new.status,
            "image": new.image,
            "metadata": dict(new.labels or {}),
            "environment_encrypted": new.environment_encrypted,
            "environment_names": list(new.environment_names),
            "idle_timeout_seconds": new.idle_timeout_seconds,
            "lifetime_seconds": new.lifetime_seconds,
            "idempotency_key": new.idempotency_key,
        }
        table = SandboxRow.__table__  # type: ignore[attr-defined] # sqlmodel does not declare it
        # Not the ORM's: the encrypted environment is no attribute.
        await self._session.exec(
            insert(table)
            .values(values)
            .on_conflict_do_nothing(index_elements=["owner_id", "idempotency_key"])
        )
        return await self.get(new.id)

    async def update_fields(
        self, sandbox_id: UUID, **fields: Unpack[SandboxFields]
    ) -> SandboxRow | None:
        """Change what is given; None where the user has none of this id."""
        return await self._session.scalar(
            update(SandboxRow)
            .where(col(SandboxRow.id) == sandbox_id)
            .values({**fields, "updated_at": func.now()})
            .returning(SandboxRow)
            .execution_options(synchronize_session=False, populate_existing=True)
        )


@cache
def _page(*, after: bool) -> SelectOfScalar[SandboxRow]:
    statement = select(SandboxRow).order_by(*newest_first(SandboxRow)).limit(MOST)
    return statement.where(is_older(SandboxRow)) if after else statement


def _where(conditions: SandboxConditions) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if conditions.statuses is not None:
        clauses.append(col(SandboxRow.status).in_(conditions.statuses))
    if conditions.labels:
        clauses.append(col(SandboxRow.labels).contains(dict(conditions.labels)))
    if conditions.name_contains:
        clauses.append(col(SandboxRow.name).icontains(conditions.name_contains, autoescape=True))
    return clauses
