"""Every tenant's sandboxes and executions, for background work."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, update
from sqlmodel import col, select

from db.repositories.operations import OperationRepository
from db.sessions import ServiceSession
from db.tables import (
    ENVIRONMENT_ENCRYPTED,
    SCHEMA,
    UNENDED_STATUSES,
    ExecutionRow,
    PackageRow,
    SandboxRow,
)

ALIVE_STATUSES = ("STARTING", "RUNNING", "STOPPING")
LOST = "LOST"
LOST_EXIT_CODE = 1

# After each execution, so without the ORM's share.
RECORD = f"""
UPDATE {SCHEMA}.executions SET
    status = $2, exit_code = $3, stdout = $4, stderr = $5, output_truncated = $6, results = $7,
    error = $8, execution_count = $9, started_at = $10, finished_at = $11, duration_ms = $12,
    last_seq = $13, interpreter_restarted = $14
WHERE id = $1 AND (status IN ('QUEUED', 'RUNNING') OR finished_at = $11)
"""  # noqa: S608 # the schema's name is ours
TOUCH = f"""
UPDATE {SCHEMA}.sandboxes SET last_active_at = $2
WHERE id = $1 AND coalesce(last_active_at < $2, true)
"""  # noqa: S608 # the schema's name is ours


@dataclass(frozen=True, slots=True)
class ExecutionEnd:
    """How an execution ended; texts are UTF-8, `results` and `error` JSON.

    In the order of `RECORD`'s parameters.
    """

    id: UUID
    status: str
    exit_code: int | None
    stdout: bytes
    stderr: bytes
    output_truncated: bool
    results: bytes
    error: bytes | None
    execution_count: int | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: float | None
    last_seq: int
    interpreter_restarted: bool


_values = attrgetter(*(field.name for field in fields(ExecutionEnd)))


@dataclass(frozen=True, slots=True)
class UnendedExecution:
    """An execution that the records have as queued or running."""

    id: UUID
    sandbox_id: UUID
    session_id: str | None
    created_at: datetime


class RunningRepository(OperationRepository[ServiceSession]):
    """What the reaper, the recorder and the reconciler read and write."""

    async def get(self, sandbox_id: UUID) -> SandboxRow | None:
        """Return any tenant's sandbox."""
        return await self._session.scalar(
            select(SandboxRow).where(col(SandboxRow.id) == sandbox_id)
        )

    async def alive(self) -> Sequence[SandboxRow]:
        """Return the sandboxes that should have a session, or have an operation to end."""
        found = await self._session.exec(
            select(SandboxRow).where(
                or_(
                    col(SandboxRow.status).in_(ALIVE_STATUSES),
                    col(SandboxRow.operation_id).is_not(None),
                    col(SandboxRow.deleting),
                )
            )
        )
        return found.all()

    async def by_session(self, session_ids: Collection[str]) -> Sequence[SandboxRow]:
        """Return the sandboxes that these sessions serve or served."""
        found = await self._session.exec(
            select(SandboxRow).where(col(SandboxRow.session_id).in_(session_ids))
        )
        return found.all()

    async def session_ids(self) -> frozenset[str]:
        """Return every session that a sandbox names: what there is of others is left over."""
        found = await self._session.exec(
            select(col(SandboxRow.session_id)).where(col(SandboxRow.session_id).is_not(None))
        )
        return frozenset(name for name in found if name is not None)

    async def unended(self) -> Sequence[UnendedExecution]:
        """Return all executions that are queued or running as far as the records know."""
        found = await self._session.exec(
            select(
                col(ExecutionRow.id),
                col(ExecutionRow.sandbox_id),
                col(ExecutionRow.session_id),
                col(ExecutionRow.created_at),
            ).where(_unended())
        )
        return [UnendedExecution(*row) for row in found]

    async def environment(self, sandbox_id: UUID) -> bytes | None:
        """Return a sandbox's environment as it was encrypted."""
        return await self._session.scalar(
            select(ENVIRONMENT_ENCRYPTED).where(col(SandboxRow.id) == sandbox_id)
        )

    async def expire_operation(self, sandbox_id: UUID, operation_id: UUID) -> None:
        """Give the operation up as it is: whoever comes next may take it at once."""
        await self._session.exec(
            update(SandboxRow)
            .where(col(SandboxRow.id) == sandbox_id, col(SandboxRow.operation_id) == operation_id)
            .values(operation_deadline=func.now(), updated_at=func.now())
            .execution_options(synchronize_session=False)
        )

    async def touch(self, activity: Mapping[UUID, datetime]) -> None:
        """Note when sandboxes were last active; it never goes back."""
        if activity:
            await self._session.execute_many(TOUCH, list(activity.items()))

    async def record_executions(self, ends: Sequence[ExecutionEnd]) -> None:
        """Write how executions ended; another end than the one written changes nothing.

        The same end again may hold output that came after it.
        """
        if ends:
            # In one order for all who write, who would else wait for each other.
            ordered = sorted(ends, key=lambda end: end.id)
            await self._session.execute_many(RECORD, [_values(end) for end in ordered])

    async def raise_last_seq(self, execution_id: UUID, seq: int) -> None:
        """Note that a reader was told an event of this number; it never goes back."""
        await self._session.exec(
            update(ExecutionRow)
            .where(col(ExecutionRow.id) == execution_id, col(ExecutionRow.last_seq) < seq)
            .values(last_seq=seq)
            .execution_options(synchronize_session=False)
        )

    async def lose_execution(self, execution_id: UUID, *, error: bytes, at: datetime) -> None:
        """Record one as LOST, unless it has ended."""
        await self._lose(col(ExecutionRow.id) == execution_id, error, at)

    async def lose_executions(self, sandbox_id: UUID, *, error: bytes, at: datetime) -> None:
        """Record all of a sandbox's that have not ended as LOST."""
        await self._lose(col(ExecutionRow.sandbox_id) == sandbox_id, error, at)

    async def discard_execution(self, execution_id: UUID) -> None:
        """Remove one that no session has accepted, unless it has ended."""
        await self._session.exec(
            delete(ExecutionRow).where(col(ExecutionRow.id) == execution_id, _unended())
        )

    async def lock_packages(self, sandbox_id: UUID) -> None:
        """Wait until nobody else replaces this sandbox's packages, until the transaction's end."""
        number = int.from_bytes(sandbox_id.bytes[:8], signed=True)
        await self._session.exec(select(func.pg_advisory_xact_lock(number)))

    async def replace_packages(
        self, sandbox_id: UUID, owner_id: UUID, packages: Sequence[tuple[str, str]]
    ) -> None:
        """Write what a sandbox can import now: names and versions."""
        await self.lock_packages(sandbox_id)
        await self._session.exec(delete(PackageRow).where(col(PackageRow.sandbox_id) == sandbox_id))
        self._session.add_all(
            PackageRow(sandbox_id=sandbox_id, owner_id=owner_id, name=name, version=version)
            for name, version in packages
        )
        await self._session.flush()

    async def purge_executions(self, finished_before: datetime, at_most: int = 1_000) -> int:
        """Remove records that are older than they are kept; return how many."""
        oldest = (
            select(col(ExecutionRow.id))
            .where(col(ExecutionRow.finished_at) < finished_before)
            .order_by(col(ExecutionRow.finished_at))
            .limit(at_most)
        )
        gone = await self._session.exec(
            delete(ExecutionRow).where(col(ExecutionRow.id).in_(oldest))
        )
        return gone.rowcount

    async def _lose(self, which: ColumnElement[bool], error: bytes, at: datetime) -> None:
        await self._session.exec(
            update(ExecutionRow)
            .where(which, _unended())
            .values(status=LOST, exit_code=LOST_EXIT_CODE, error=error, finished_at=at)
            .execution_options(synchronize_session=False)
        )


def _unended() -> ColumnElement[bool]:
    return col(ExecutionRow.status).in_(UNENDED_STATUSES)
