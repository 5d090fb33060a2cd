"""Changes of a sandbox's status, by whoever holds its operation.

An operation is the right to change one sandbox until a deadline. It is begun and finished
by one conditional update each, so that of two requests one is told that it came too late.
"""

from collections.abc import Collection
from datetime import datetime
from typing import TypedDict, Unpack
from uuid import UUID

from sqlalchemy import delete, func, or_, update
from sqlmodel import col

from db.sessions import DatabaseSession
from db.tables import SandboxRow


class SandboxFields(TypedDict, total=False):
    """Columns of a sandbox that may change; one left out keeps its value."""

    name: str | None
    labels: dict[str, str]
    status_reason: str | None
    idle_timeout_seconds: float
    lifetime_seconds: float
    session_id: str | None
    node_id: str | None
    started_at: datetime | None
    last_active_at: datetime | None
    deleting: bool


class OperationRepository[S: DatabaseSession]:
    """Begins and ends operations on the sandboxes that its session may change."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def begin_operation(
        self,
        sandbox_id: UUID,
        *,
        from_statuses: Collection[str],
        to_status: str,
        operation_id: UUID,
        deadline: datetime,
        take_over: bool = False,
        **fields: Unpack[SandboxFields],
    ) -> SandboxRow | None:
        """Take a sandbox's operation and set its status, if it has one of `from_statuses`.

        Return the row as it is then; None where it has another status, or where another
        operation is at work before its deadline and `take_over` is not set. The holder of one
        that was taken over learns so when it finishes.
        """
        statement = update(SandboxRow).where(
            col(SandboxRow.id) == sandbox_id, col(SandboxRow.status).in_(from_statuses)
        )
        if not take_over:
            statement = statement.where(
                or_(
                    col(SandboxRow.operation_id).is_(None),
                    col(SandboxRow.operation_deadline) < func.now(),
                )
            )
        values = {
            **fields,
            "status": to_status,
            "operation_id": operation_id,
            "operation_deadline": deadline,
            "updated_at": func.now(),
        }
        return await self._session.scalar(
            statement.values(values)
            .returning(SandboxRow)
            .execution_options(synchronize_session=False, populate_existing=True)
        )

    async def finish_operation(
        self,
        sandbox_id: UUID,
        operation_id: UUID,
        to_status: str,
        **fields: Unpack[SandboxFields],
    ) -> SandboxRow | None:
        """Give the operation back and set the status; None where another one has taken over."""
        values = {
            **fields,
            "status": to_status,
            "operation_id": None,
            "operation_deadline": None,
            "updated_at": func.now(),
        }
        return await self._session.scalar(
            update(SandboxRow)
            .where(col(SandboxRow.id) == sandbox_id, col(SandboxRow.operation_id) == operation_id)
            .values(values)
            .returning(SandboxRow)
            .execution_options(synchronize_session=False, populate_existing=True)
        )

    async def delete(self, sandbox_id: UUID, operation_id: UUID) -> bool:
        """Remove a sandbox with all that hangs on it, under the operation that is held."""
        gone = await self._session.exec(
            delete(SandboxRow).where(
                col(SandboxRow.id) == sandbox_id, col(SandboxRow.operation_id) == operation_id
            )
        )
        return gone.rowcount > 0
