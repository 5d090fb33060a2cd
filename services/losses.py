"""Sessions that went away by themselves, put on the record by whoever notices first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from db.repositories.running import RunningRepository
from db.tables import SandboxRow
from services.entities import SandboxStatus, UserId
from services.executor.errors import ExecutorError, SessionGoneError
from services.executor.interface import Executor
from services.executor.messages import Collected
from services.ledger import ends_of, lose
from services.nudges import Nudges
from services.operations import Operations
from services.stopper import Ending, Stopper
from services.transactions import Transactions
from services.translate import from_executor

_log = structlog.get_logger(__name__)

GONE = "The sandbox's process died or was killed from outside: start the sandbox again."


class Losses:
    """Turns the RUNNING sandbox of a session that does not answer any more into a FAILED one."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        stopper: Stopper,
        operations: Operations,
        nudges: Nudges,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._stopper = stopper
        self._operations = operations
        self._nudges = nudges

    @asynccontextmanager
    async def noticed(self, session_id: str) -> AsyncIterator[None]:
        """Turn what the executor raises inside into the product's errors, and record an end."""
        try:
            yield
        except SessionGoneError as error:
            await self.session_gone(session_id)
            raise from_executor(error) from error
        except ExecutorError as error:
            raise from_executor(error) from error

    async def session_gone(self, session_id: str) -> None:
        """Look again, and record how the sandbox and its executions ended.

        Where an operation is at work on the sandbox, or it runs again, nothing is done:
        whoever stops or starts it records the same.
        """
        row = await self._running(session_id)
        if row is None or await self._answers(session_id):
            return
        words = await self._last_words(session_id, row.node_id)
        told = None if words is None else Ending.told(words)
        ending = told or Ending(SandboxStatus.FAILED, GONE, GONE)
        held = await self._end(row, ending, words)
        if held is not None:
            self._nudges.changed(UserId(held.owner_id))
            # A dead actor leaves its container behind.
            self._operations.begin(self._stopper.sweep_held(held, held.node_id))

    async def _running(self, session_id: str) -> SandboxRow | None:
        async with self._transactions.background() as session:
            rows = await RunningRepository(session).by_session([session_id])
        return next((row for row in rows if row.status == SandboxStatus.RUNNING), None)

    async def _answers(self, session_id: str) -> bool:
        try:
            await self._executor.stats(session_id)
        except SessionGoneError:
            return False
        except ExecutorError:
            # Its actor has something to say: the recorder hears it.
            return True
        return True

    async def _last_words(self, session_id: str, node_id: str | None) -> Collected | None:
        try:
            return await self._executor.last_words(session_id, node_id)
        except ExecutorError as error:
            _log.warning("last words unread", session=session_id, reason=error.message)
            return None

    async def _end(
        self, row: SandboxRow, ending: Ending, words: Collected | None
    ) -> SandboxRow | None:
        operation = self._stopper.operation()
        async with self._transactions.background() as session:
            running = RunningRepository(session)
            now = await running.get(row.id)
            # The time of its start tells this life of the session from a later one.
            if now is None or now.started_at != row.started_at:
                return None
            held = await running.begin_operation(
                row.id,
                from_statuses=[SandboxStatus.RUNNING],
                to_status=ending.status,
                operation_id=operation.id,
                deadline=operation.deadline,
                status_reason=ending.reason,
            )
            if held is not None:
                await running.record_executions(ends_of(() if words is None else words.ended))
                await lose(running, row.id, ending.lost)
        return held
