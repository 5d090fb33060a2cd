"""Asks sessions about one execution, and says when only the record can answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from db.repositories.executions import ExecutionRepository
from db.tables import ExecutionRow
from services.conversion import Submission, execution_of, record_of
from services.entities import Execution, Viewer
from services.errors import ServiceError
from services.execution_checks import Work
from services.execution_events import lost_record
from services.executor.errors import (
    ExecutorError,
    SessionGoneError,
    UnknownExecutionError,
)
from services.executor.messages import EventBatch, ExecutionRecord, ExecutionStatus
from services.losses import Losses
from services.nudges import Nudges
from services.patience import Patience
from services.settler import HAND_OVER_SECONDS, Settler
from services.submitter import Submitter
from services.transactions import Transactions
from services.translate import from_executor

RECORD_SECONDS = 30.0
"""Within so long whoever ends a session has recorded how its executions ended."""
DELETED_UNDER_IT = "The sandbox was deleted under it."


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader reads, and from where on."""

    submission: Submission
    reader_id: str
    after: int = 0
    batch: EventBatch | None = None
    """The first events, where they are there already."""
    work: Work | None = None
    """What to hand over should the session never have heard of it."""


class Asker:
    """Tells an execution that its session has forgotten from one that it never heard of."""

    def __init__(
        self,
        transactions: Transactions,
        submitter: Submitter,
        settler: Settler,
        losses: Losses,
        nudges: Nudges,
    ) -> None:
        self._transactions = transactions
        self._submitter = submitter
        self._settler = settler
        self._losses = losses
        self._nudges = nudges

    async def ask[T](
        self, viewer: Viewer, reading: Reading, call: Callable[[], Awaitable[T]]
    ) -> T | None:
        """Return what the session answers; None where it is for the record to answer.

        An execution that never came to its session is handed over, by whoever has its work.
        Raises a `ServiceError`.
        """
        answers = await self._try(viewer, reading.submission, call)
        if answers is not None:
            return answers[0]
        with self._nudges.listen(viewer.id) as listener:
            patience = Patience(HAND_OVER_SECONDS + RECORD_SECONDS, listener)
            while answers is None:
                if reading.work is None:
                    await self._settler.forget_unsubmitted(reading.submission.handle)
                    await patience.wait("The execution has not come to its sandbox yet")
                elif not await self._hand_over(reading, reading.work):
                    return None
                answers = await self._try(viewer, reading.submission, call)
        return answers[0]

    async def _try[T](
        self, viewer: Viewer, submission: Submission, call: Callable[[], Awaitable[T]]
    ) -> tuple[T | None] | None:
        """Return the session's answer, or that it is the record's; None where neither has it."""
        try:
            return (await call(),)
        except UnknownExecutionError:
            return None if await self._is_unended(viewer, submission) else (None,)
        except SessionGoneError:
            await self._losses.session_gone(submission.session_id)
            return (None,)
        except ExecutorError as error:
            raise from_executor(error) from error

    async def last_record(
        self, viewer: Viewer, submission: Submission
    ) -> tuple[ExecutionRecord, Execution | None]:
        """Wait for the end to be on the record; no execution where its sandbox was deleted.

        Whoever stopped the sandbox, or found it gone, writes it. Raises
        `ServiceUnavailableError` where that takes too long.
        """
        with self._nudges.listen(viewer.id) as listener:
            patience = Patience(RECORD_SECONDS, listener)
            while True:
                row = await self._row(viewer, submission)
                if row is None:
                    return lost_record(submission, DELETED_UNDER_IT), None
                if ExecutionStatus(row.status).ended:
                    record = record_of(row)
                    return record, execution_of(submission, record)
                await patience.wait("The end of the execution is not on the record yet")

    async def complete(self, viewer: Viewer, submission: Submission) -> Execution | None:
        """Return the record beside the last event; None where nothing can read it just now."""
        try:
            record = await self._settler.live_record(submission.handle)
            if record is None:
                row = await self._row(viewer, submission)
                record = None if row is None else record_of(row)
        except ServiceError:
            return None
        return None if record is None else execution_of(submission, record)

    async def _hand_over(self, reading: Reading, work: Work) -> bool:
        batch = await self._submitter.hand_over(reading.submission, work, reading.reader_id)
        return batch is not None

    async def _is_unended(self, viewer: Viewer, submission: Submission) -> bool:
        row = await self._row(viewer, submission)
        return row is not None and not ExecutionStatus(row.status).ended

    async def _row(self, viewer: Viewer, submission: Submission) -> ExecutionRow | None:
        async with self._transactions.of(viewer) as session:
            return await ExecutionRepository(session).get(submission.id)
