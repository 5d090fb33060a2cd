"""Carries out stops and deletions: from STOPPING to STOPPED, to FAILED, or to nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from db.repositories.running import RunningRepository
from db.tables import SandboxRow
from services.entities import SandboxStatus, UserId
from services.errors import ServiceError, ServiceUnavailableError
from services.executor.errors import ExecutorError
from services.executor.interface import Executor
from services.executor.messages import Collected, ExecutionRecord
from services.ledger import ends_of, lose
from services.nudges import Nudges
from services.persistence import persist
from services.transactions import Transactions
from services.transitions import Operation, operation_id_of
from services.translate import from_executor

STOPPED_UNDER_IT = "The sandbox was stopped under it."

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """What a sandbox is to be after its session has ended, and what its executions are told."""

    status: SandboxStatus
    reason: str | None
    lost: str = STOPPED_UNDER_IT

    @classmethod
    def told(cls, collected: Collected) -> "Ending | None":
        """Return what a session that is over by itself says of that; None where it says nothing."""
        reason = collected.stopped_reason
        if reason is None:
            return None
        status = SandboxStatus.FAILED if collected.failed else SandboxStatus.STOPPED
        return cls(status, reason, reason)


class Stopper:
    """Ends the session of a row that is under an operation of ours."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        nudges: Nudges,
        timeout_seconds: float,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._nudges = nudges
        self._timeout_seconds = timeout_seconds

    def operation(self) -> Operation:
        """Make an operation that is long enough for a stop or a deletion."""
        return Operation.of(self._timeout_seconds)

    async def close(self, row: SandboxRow, ending: Ending) -> None:
        """Stop a RUNNING sandbox for the product's own reasons; no error where it is not one."""
        operation = self.operation()
        async with self._transactions.background() as session:
            held = await RunningRepository(session).begin_operation(
                row.id,
                from_statuses=[SandboxStatus.RUNNING],
                to_status=SandboxStatus.STOPPING,
                operation_id=operation.id,
                deadline=operation.deadline,
                status_reason=ending.reason,
            )
        if held is not None:
            self._nudges.changed(UserId(held.owner_id))
            await self.carry_out(held, ending)

    async def carry_out(self, row: SandboxRow, ending: Ending) -> SandboxRow | None:
        """End the session and return the row as it is then, None where it was taken over.

        What had not ended is recorded as LOST. Raises the reason as a `ServiceError` where
        the session could not be ended; then the row is FAILED.
        """
        try:
            records = await self._stop(row, row.node_id)
        except ServiceError as error:
            failed = Ending(SandboxStatus.FAILED, error.message, ending.lost)
            await self._finish(row, failed, ())
            raise
        return await self._finish(row, ending, records)

    async def destroy(self, row: SandboxRow) -> None:
        """Remove the session with its folders, then the row.

        Raises `ServiceUnavailableError` where that fails; then the row stays as it is, for
        the reconciler or for whoever deletes it next.
        """
        try:
            await self.destroy_session(row, row.node_id)
        except ServiceError:
            await self._release(row)
            raise

        async def write() -> None:
            async with self._transactions.background() as session:
                await RunningRepository(session).delete(row.id, operation_id_of(row))

        await persist(write, row.operation_deadline)
        self._nudges.changed(UserId(row.owner_id))

    async def destroy_session(self, row: SandboxRow, node_id: str | None) -> None:
        """Remove all that there is of the row's session. Raises `ServiceUnavailableError`."""
        if row.session_id is None:
            return
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._executor.destroy(row.session_id, node_id)
        except ExecutorError as error:
            raise ServiceUnavailableError(
                f"Its session could not be removed: {error.message}"
            ) from error
        except TimeoutError as error:
            raise self._too_slow("removed") from error

    async def sweep(self, row: SandboxRow, node_id: str | None) -> None:
        """Remove what still runs of a sandbox that is STOPPED or FAILED, and leave it so.

        An operation keeps starts away meanwhile; where another one holds the row, that one
        knows better and nothing is done.
        """
        operation = self.operation()
        async with self._transactions.background() as session:
            held = await RunningRepository(session).begin_operation(
                row.id,
                from_statuses=[row.status],
                to_status=row.status,
                operation_id=operation.id,
                deadline=operation.deadline,
            )
        if held is not None:
            await self.sweep_held(held, node_id)

    async def sweep_held(self, row: SandboxRow, node_id: str | None) -> None:
        """Do what `sweep` does for a row that is under an operation of ours already."""
        records = await self.end_quietly(row, node_id)
        await self._finish(row, Ending(SandboxStatus(row.status), row.status_reason), records)

    async def end_quietly(self, row: SandboxRow, node_id: str | None) -> Sequence[ExecutionRecord]:
        """End the session as far as that goes; the reconciler finds what stays."""
        try:
            return await self._stop(row, node_id)
        except ServiceError as error:
            _log.warning("session still there", session=row.session_id, reason=error.message)
            return ()

    async def _stop(self, row: SandboxRow, node_id: str | None) -> Sequence[ExecutionRecord]:
        if row.session_id is None:
            return ()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._executor.stop(row.session_id, node_id)
        except ExecutorError as error:
            raise from_executor(error) from error
        except TimeoutError as error:
            raise self._too_slow("stopped") from error

    async def _finish(
        self, row: SandboxRow, ending: Ending, records: Sequence[ExecutionRecord]
    ) -> SandboxRow | None:
        async def write() -> SandboxRow | None:
            async with self._transactions.background() as session:
                running = RunningRepository(session)
                await running.record_executions(ends_of(records))
                finished = await running.finish_operation(
                    row.id, operation_id_of(row), ending.status, status_reason=ending.reason
                )
                if finished is not None:
                    await lose(running, row.id, ending.lost)
                return finished

        finished = await persist(write, row.operation_deadline)
        self._nudges.changed(UserId(row.owner_id))
        return finished

    async def _release(self, row: SandboxRow) -> None:
        """Leave the row as it is for whoever comes next."""
        async with self._transactions.background() as session:
            await RunningRepository(session).expire_operation(row.id, operation_id_of(row))

    def _too_slow(self, what: str) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            f"Its session was not {what} within {self._timeout_seconds:g} s: try again."
        )
