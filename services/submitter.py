"""Submits executions: one transaction, one call to the session, and the same again safely."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

from db.repositories.executions import Begun, ExecutionRepository, begin_execution
from db.tables import ExecutionRow
from services.checks import check_key, check_sandbox_id
from services.conversion import Submission, submission_of
from services.entities import ExecutionId, SandboxId, SandboxStatus, Viewer
from services.errors import (
    ConflictError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    ServiceError,
    ServiceUnavailableError,
    UnrecordedError,
)
from services.execution_checks import CodeWork, InstallWork, Work
from services.executor.errors import (
    ExecutorError,
    InvalidRequirementError,
    QueueFullError,
    SessionGoneError,
)
from services.executor.interface import Executor
from services.executor.messages import EventBatch
from services.head_start import HeadStart
from services.ledger import Ledger
from services.losses import Losses
from services.operations import Operations
from services.persistence import persist
from services.settler import Settler
from services.transactions import Transactions
from services.translate import from_executor
from services.turns import Turns

RECORD_PATIENCE = timedelta(seconds=30)
"""How long the record of code that was given already is tried again while the database is away."""
INSTALL_RETRY_SECONDS = 60
"""At the latest then there is room again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants run, as far as it has been looked at."""

    sandbox_id: str
    client_execution_id: str | None
    check: Callable[[], Work]
    """Checks the rest; an order that is known already is never refused for the rest."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many executions one user may have."""

    unended: int
    installs_per_minute: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """An execution that is on the record."""

    submission: Submission
    work: Work | None
    """What to hand over should the session never have heard of it."""
    batch: EventBatch | None
    """Its first events, where it was handed over just now."""
    attached: bool
    """Whether it was on the record before."""


class Submitter:
    """Puts executions on the record and hands them to their sessions."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        settler: Settler,
        ledger: Ledger,
        losses: Losses,
        operations: Operations,
        *,
        bounds: Bounds,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._settler = settler
        self._ledger = ledger
        self._losses = losses
        self._bounds = bounds
        self._turns = Turns()
        self._head_start = HeadStart(transactions, executor, operations, bounds.unended)

    async def submit(self, viewer: Viewer, order: Order, reader_id: str) -> Submitted:
        """Submit, or attach to what has this client's id already.

        Raises `NotFoundError`, `ConflictError` unless RUNNING, `QuotaExceededError`, what
        the order's check raises, and `ServiceUnavailableError`.
        """
        sandbox_id = check_sandbox_id(order.sandbox_id)
        key = check_key(order.client_execution_id, "clientExecutionId")
        try:
            work = order.check()
        except ServiceError:
            known = None if key is None else await self._by_key(viewer, sandbox_id, key)
            if known is None:
                raise
            return Submitted(submission_of(known), None, None, attached=True)
        execution_id = uuid4()
        with self._head_start.waiting(viewer, sandbox_id):
            async with self._turns.take(viewer.id):
                given = None
                if key is None and isinstance(work, CodeWork):
                    given = self._head_start.give(viewer, sandbox_id, execution_id, work, reader_id)
                begin = partial(self._begin, viewer, sandbox_id, execution_id, work, key)
                try:
                    begun = await (begin() if given is None else _persisted(begin))
                except BaseException:
                    self._head_start.fail(viewer, sandbox_id, given)
                    raise
                given = self._head_start.learn(viewer, sandbox_id, begun, given)
        # It is known already where the statement was carried out twice, over another connection.
        if begun.execution_id != execution_id:
            return await self._attach(viewer, begun, work)
        submission = Submission(
            id=ExecutionId(execution_id),
            sandbox_id=sandbox_id,
            owner_id=viewer.id,
            session_id=begun.session_id or "",
            kind=work.kind,
            client_execution_id=key,
            source=work.source,
            created_at=begun.created_at or datetime.now(UTC),
        )
        call = self._call(submission, work, reader_id) if given is None else given.batch()
        batch = await self._handed_over(submission, call)
        return Submitted(submission, work, batch, attached=False)

    async def hand_over(
        self, submission: Submission, work: Work, reader_id: str
    ) -> EventBatch | None:
        """Give the work to the session; None where that is gone, and the record says so.

        The same again attaches. Raises a `ServiceError`; where nobody knows whether the
        session has it, the record stays as it is.
        """
        return await self._handed_over(submission, self._call(submission, work, reader_id))

    async def _handed_over(
        self, submission: Submission, call: Awaitable[EventBatch]
    ) -> EventBatch | None:
        try:
            return await call
        except (QueueFullError, InvalidRequirementError) as error:
            await self._ledger.discard(submission.id)
            raise from_executor(error) from error
        except SessionGoneError:
            await self._losses.session_gone(submission.session_id)
            return None
        except ExecutorError as error:
            raise from_executor(error) from error

    async def _call(self, submission: Submission, work: Work, reader_id: str) -> EventBatch:
        name, session_id = str(submission.id), submission.session_id
        match work:
            case CodeWork():
                return await self._executor.execute(session_id, work.request(name, reader_id))
            case InstallWork():
                return await self._executor.install(session_id, work.request(name, reader_id))

    async def _begin(
        self,
        viewer: Viewer,
        sandbox_id: SandboxId,
        execution_id: UUID,
        work: Work,
        key: str | None,
    ) -> Begun:
        begun = await self._try(viewer, sandbox_id, execution_id, work, key)
        if self._full(begun) and await self._settler.settle_all(viewer) < self._bounds.unended:
            begun = await self._try(viewer, sandbox_id, execution_id, work, key)
        if begun.execution_id is not None:
            return begun
        if begun.status != SandboxStatus.RUNNING or begun.deleting:
            raise ConflictError(
                f"The sandbox is {begun.status}, not RUNNING: start it first.",
                status=begun.status,
            )
        most = self._most_recent(work)
        if most is not None and begun.recent >= most:
            raise RateLimitedError(
                f"{most} installations may begin in a minute: wait, or name several packages"
                " in one.",
                retryAfterSeconds=INSTALL_RETRY_SECONDS,
            )
        raise QuotaExceededError(
            f"{self._bounds.unended} executions may be queued or running at once: wait for one.",
            limit="maxConcurrentExecutions",
        )

    def _full(self, begun: Begun) -> bool:
        return (
            begun.execution_id is None
            and begun.status == SandboxStatus.RUNNING
            and begun.unended >= self._bounds.unended
        )

    async def _try(
        self,
        viewer: Viewer,
        sandbox_id: SandboxId,
        execution_id: UUID,
        work: Work,
        key: str | None,
    ) -> Begun:
        begun = await self._transactions.call(
            viewer,
            lambda call: begin_execution(
                call,
                sandbox_id,
                execution_id,
                kind=work.kind,
                code=work.source,
                client_execution_id=key,
                max_unended=self._bounds.unended,
                max_recent=self._most_recent(work),
            ),
        )
        if begun is None:
            raise NotFoundError("There is no such sandbox.")
        return begun

    def _most_recent(self, work: Work) -> int | None:
        return self._bounds.installs_per_minute if isinstance(work, InstallWork) else None

    async def _attach(self, viewer: Viewer, begun: Begun, work: Work) -> Submitted:
        async with self._transactions.of(viewer) as session:
            row = (
                None
                if begun.execution_id is None
                else await ExecutionRepository(session).get(begun.execution_id)
            )
        if row is None:
            raise NotFoundError("There is no such execution any more.")
        return Submitted(submission_of(row), work, None, attached=True)

    async def _by_key(self, viewer: Viewer, sandbox_id: SandboxId, key: str) -> ExecutionRow | None:
        async with self._transactions.of(viewer) as session:
            return await ExecutionRepository(session).by_client_id(sandbox_id, key)


async def _persisted(begin: Callable[[], Awaitable[Begun]]) -> Begun:
    """Put code on record that may have run: to be refused and sent again could run it twice."""
    try:
        return await persist(begin, datetime.now(UTC) + RECORD_PATIENCE)
    except ServiceUnavailableError as error:
        raise UnrecordedError(
            "The database is away: the code was begun, and interrupted, without a record. See what"
            " it did before you send it again."
        ) from error
