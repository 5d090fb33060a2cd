"""How executions stand in truth, where the records have not heard of their end yet."""

import asyncio
from datetime import UTC, datetime, timedelta

from db.repositories.executions import ExecutionRepository
from db.tables import ExecutionRow
from services.conversion import (
    ExecutionHandle,
    brought_up,
    execution_of,
    handle_of,
    outline_of,
    record_of,
    submission_of,
)
from services.entities import Execution, ExecutionOutline, Viewer
from services.errors import ServiceUnavailableError
from services.executor.errors import (
    ExecutorError,
    SessionGoneError,
    UnknownExecutionError,
)
from services.executor.interface import Executor
from services.executor.messages import ExecutionRecord, ExecutionStatus
from services.ledger import Ledger
from services.losses import Losses
from services.read_budget import ReadBudget, size_of
from services.transactions import Transactions
from services.translate import from_executor

HAND_OVER_SECONDS = 60.0
"""After so long an execution that its session does not know was never handed over."""
NEVER_HANDED_OVER = "It never reached the sandbox: run it again."


class Settler:
    """Asks sessions how executions stand, and records those that have ended."""

    def __init__(
        self, transactions: Transactions, executor: Executor, ledger: Ledger, losses: Losses
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._ledger = ledger
        self._losses = losses

    async def complete(self, viewer: Viewer, row: ExecutionRow, budget: ReadBudget) -> Execution:
        """Return the execution as it is now; what was in the row has been taken before.

        Raises `ServiceUnavailableError`, and what `budget` does.
        """
        submission = submission_of(row)
        if ExecutionStatus(row.status).ended:
            return execution_of(submission, record_of(row))
        async with budget.unmeasured():
            record = await self.live_record(submission.handle)
            if record is None:
                record = record_of(await self._again(viewer, row))
            budget.take(size_of(record))
        return execution_of(submission, record)

    async def complete_or_row(
        self, viewer: Viewer, row: ExecutionRow, budget: ReadBudget
    ) -> Execution:
        """Do what `complete` does, or say what the row says where nobody answers."""
        try:
            return await self.complete(viewer, row, budget)
        except ServiceUnavailableError:
            return execution_of(submission_of(row), record_of(row))

    async def outline(
        self, viewer: Viewer, row: ExecutionRow, budget: ReadBudget
    ) -> ExecutionOutline:
        """Do what `complete` does, of a row without what is large."""
        if ExecutionStatus(row.status).ended:
            return outline_of(row)
        # A session knows no outlines: what is large comes along, and is dropped here.
        async with budget.unmeasured():
            record = await self.live_record(handle_of(row))
            if record is not None:
                return brought_up(outline_of(row), record)
        return outline_of(await self._again(viewer, row, large=False))

    async def outline_or_row(
        self, viewer: Viewer, row: ExecutionRow, budget: ReadBudget
    ) -> ExecutionOutline:
        """Do what `outline` does, or say what the row says where nobody answers."""
        try:
            return await self.outline(viewer, row, budget)
        except ServiceUnavailableError:
            return outline_of(row)

    async def settle_all(self, viewer: Viewer) -> int:
        """Record what has ended of the viewer's executions; return how many have not."""
        async with self._transactions.of(viewer) as session:
            unended = await ExecutionRepository(session).unended()
        records = await asyncio.gather(*(self.record_quietly(handle_of(row)) for row in unended))
        ended = [record for record in records if record is None or record.status.ended]
        await self._ledger.record([record for record in ended if record is not None])
        # Those that the recorder was quicker with are not in the list any more.
        return len(unended) - len(ended)

    async def record_quietly(self, handle: ExecutionHandle) -> ExecutionRecord | None:
        """Return None where the session knows nothing, so that the database is asked again."""
        try:
            return await self.live_record(handle)
        except ServiceUnavailableError:
            return None

    async def live_record(self, handle: ExecutionHandle) -> ExecutionRecord | None:
        """Return what the session says; None where it knows nothing, and the record knows all.

        Raises `ServiceUnavailableError` where the cluster does not answer.
        """
        try:
            return await self._executor.record(handle.session_id, str(handle.id))
        except SessionGoneError:
            await self._losses.session_gone(handle.session_id)
        except UnknownExecutionError:
            await self.forget_unsubmitted(handle)
        except ExecutorError as error:
            raise from_executor(error) from error
        return None

    async def forget_unsubmitted(self, handle: ExecutionHandle) -> None:
        """Record as LOST what was on the record for long and never came to its session.

        One that the session has forgotten, since its end is recorded, stays as it is.
        """
        age = datetime.now(UTC) - handle.created_at
        if age > timedelta(seconds=HAND_OVER_SECONDS):
            await self._ledger.lose_one(handle.id, NEVER_HANDED_OVER)

    async def _again(
        self, viewer: Viewer, row: ExecutionRow, *, large: bool = True
    ) -> ExecutionRow:
        async with self._transactions.of(viewer) as session:
            return await ExecutionRepository(session).get(row.id, large=large) or row
