"""Executions: run code, follow it live, and read how it went."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from uuid import uuid4

from db.repositories.executions import ExecutionRepository
from db.tables import ExecutionRow
from services.asker import Reading
from services.checks import check_execution_id, check_seq
from services.conversion import execution_of, record_of, submission_of
from services.entities import (
    CodeToRun,
    Execution,
    ExecutionOutline,
    ExecutionUpdate,
    Viewer,
)
from services.errors import ConflictError, NotFoundError, ServiceUnavailableError
from services.execution_checks import check_code, check_input_text
from services.execution_events import is_told
from services.executor.errors import (
    ExecutorError,
    NotWaitingError,
    SessionGoneError,
    UnknownExecutionError,
)
from services.executor.interface import Executor
from services.executor.messages import ExecutionRecord, ExecutionStatus
from services.feed import Feed
from services.losses import Losses
from services.read_budget import ReadBudget, size_of
from services.runner import Runner
from services.settler import Settler
from services.submitter import Order
from services.transactions import Transactions
from services.translate import from_executor


class ExecutionService:
    """What a viewer does with executions."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        runner: Runner,
        feed: Feed,
        settler: Settler,
        losses: Losses,
        *,
        max_timeout_seconds: float,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._runner = runner
        self._feed = feed
        self._settler = settler
        self._losses = losses
        self._max_timeout_seconds = max_timeout_seconds

    async def get(self, viewer: Viewer, execution_id: str, budget: ReadBudget) -> Execution | None:
        """Return one, complete once it has ended; None where the viewer has none of this id.

        Raises what `budget` does, or its own.
        """
        budget = budget.share(field="id")
        row = await self._find(viewer, execution_id, "id", budget)
        return None if row is None else await self._settler.complete(viewer, row, budget)

    async def outline(
        self, viewer: Viewer, execution_id: str, budget: ReadBudget
    ) -> ExecutionOutline | None:
        """Do what `get` does, without reading what is large."""
        name = check_execution_id(execution_id, "id")
        async with self._transactions.of(viewer) as session:
            row = await ExecutionRepository(session).get(name, large=False)
        budget = budget.share(copies=0)
        return None if row is None else await self._settler.outline(viewer, row, budget)

    async def run(self, viewer: Viewer, code: CodeToRun, budget: ReadBudget) -> Execution:
        """Run code and wait for the end. Raises what `budget` does, or its own, after that."""
        check_seq(code.after)
        execution = await self._runner.run(viewer, self._order(code))
        budget.take_ended(execution)
        return execution

    async def stream(
        self, viewer: Viewer, code: CodeToRun
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """Run code and yield its events, the last with the complete record."""
        after = check_seq(code.after)
        async with aclosing(self._runner.stream(viewer, self._order(code), after)) as updates:
            async for update in updates:
                yield update

    async def follow(
        self, viewer: Viewer, execution_id: str, after: int
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """Yield the events of an execution, running or ended, after `after`."""
        check_seq(after)
        row = await self._need(viewer, execution_id, ReadBudget())
        if is_told(record_of(row), after):
            return
        reading = Reading(submission_of(row), uuid4().hex, after)
        async with aclosing(self._feed.read(viewer, reading)) as updates:
            async for update in updates:
                yield update

    async def interrupt(self, viewer: Viewer, execution_id: str, budget: ReadBudget) -> Execution:
        """Interrupt it, or take it off the queue; one that has ended stays as it is."""
        budget = budget.share(field="executionId")
        row = await self._need(viewer, execution_id, budget)
        ask = partial(self._executor.interrupt, row.session_id or "", str(row.id))
        return await self._change(viewer, row, ask, budget)

    async def provide_input(
        self,
        viewer: Viewer,
        execution_id: str,
        input_seq: int,
        text: str,
        budget: ReadBudget,
    ) -> Execution:
        """Answer an `InputRequested`. Raises `ConflictError` where it is not (any more) open."""
        check_seq(input_seq, "inputSeq")
        check_input_text(text)
        budget = budget.share(field="executionId")
        row = await self._need(viewer, execution_id, budget)
        ask = partial(
            self._executor.provide_input, row.session_id or "", str(row.id), input_seq, text
        )
        if ExecutionStatus(row.status).ended:
            raise ConflictError(
                f"The execution has ended, as {row.status}: nothing waits for input.",
                status=row.status,
            )
        return await self._change(viewer, row, ask, budget)

    async def _change(
        self,
        viewer: Viewer,
        row: ExecutionRow,
        ask: Callable[[], Awaitable[ExecutionRecord]],
        budget: ReadBudget,
    ) -> Execution:
        """Return the execution as its session has it after `ask`, or as the record has it."""
        submission = submission_of(row)
        if ExecutionStatus(row.status).ended:
            return execution_of(submission, record_of(row))
        try:
            record = await ask()
            budget.take(size_of(record))
            return execution_of(submission, record)
        except UnknownExecutionError:
            await self._settler.forget_unsubmitted(submission.handle)
        except SessionGoneError:
            await self._losses.session_gone(submission.session_id)
        except NotWaitingError as error:
            status = str(error.details.get("status", ExecutionStatus.RUNNING))
            raise ConflictError(error.message, status=status) from error
        except ExecutorError as error:
            raise from_executor(error) from error
        row = await self._need(viewer, str(row.id), budget)
        if not ExecutionStatus(row.status).ended:
            raise ServiceUnavailableError("The sandbox does not know the execution: try again.")
        return execution_of(submission, record_of(row))

    def _order(self, code: CodeToRun) -> Order:
        return Order(
            sandbox_id=code.sandbox_id,
            client_execution_id=code.client_execution_id,
            check=partial(check_code, code, self._max_timeout_seconds),
        )

    async def _find(
        self, viewer: Viewer, execution_id: str, field: str, budget: ReadBudget
    ) -> ExecutionRow | None:
        name = check_execution_id(execution_id, field)
        async with self._transactions.of(viewer) as session:
            executions = ExecutionRepository(session)
            size = await executions.size(name)
            budget.take(size)
            row = await executions.get(name)
        budget.take_more(size, [] if row is None else [row])
        return row

    async def _need(self, viewer: Viewer, execution_id: str, budget: ReadBudget) -> ExecutionRow:
        row = await self._find(viewer, execution_id, "executionId", budget)
        if row is None:
            raise NotFoundError("There is no such execution.")
        return row
