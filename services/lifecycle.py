"""Start, stop, restart and delete for a viewer: safe when requests race for one sandbox.

The database's compare-and-set decides who carries an operation out; everybody else waits for
its end by looking at the row.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import uuid4

from db.repositories.sandboxes import SandboxRepository
from db.tables import SandboxRow
from services.entities import SandboxId, SandboxStatus, Viewer, ViewerLimits
from services.errors import (
    ConflictError,
    NotFoundError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from services.executor.interface import Executor
from services.losses import Losses
from services.nudges import Listener, Nudges
from services.patience import Patience
from services.resolver import Resolver
from services.sandbox_rows import NO_SANDBOX
from services.settings import ServiceSettings
from services.starter import START_MARGIN_SECONDS, Starter
from services.stopper import Ending, Stopper
from services.transactions import Transactions
from services.transitions import DEADLINE_MARGIN_SECONDS, Operation, before, is_held, is_stale


@dataclass(frozen=True, slots=True)
class Carriers:
    """Those who carry out what the lifecycle has begun."""

    starter: Starter
    stopper: Stopper
    resolver: Resolver
    losses: Losses


class Lifecycle:
    """Moves sandboxes through the status machine, one operation at a time each."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        carriers: Carriers,
        settings: ServiceSettings,
        nudges: Nudges,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._carriers = carriers
        self._sessions = settings.sessions
        self._quotas = settings.quotas
        self._nudges = nudges

    async def start(self, viewer: Viewer, sandbox_id: SandboxId) -> SandboxRow:
        """Return the sandbox RUNNING; a start that is under way already is waited for."""
        awaited = False
        with self._waiting(viewer) as listener:
            patience = self._patience(listener)
            while True:
                row = await self._look(viewer, sandbox_id)
                status = SandboxStatus(row.status)
                if status is SandboxStatus.RUNNING:
                    return row
                if awaited and status is not SandboxStatus.STARTING:
                    raise _not_started(row)
                if status in before(SandboxStatus.STARTING) and not is_held(row):
                    begun = await self._begin_start(viewer, sandbox_id)
                    if begun is not None:
                        return await self._carriers.starter.carry_out(begun)
                awaited = status is SandboxStatus.STARTING
                await patience.wait(f"The sandbox is {status}")

    async def stop(self, viewer: Viewer, sandbox_id: SandboxId) -> SandboxRow:
        """Return the sandbox STOPPED; a start that is under way is cut short."""
        with self._waiting(viewer) as listener:
            patience = self._patience(listener)
            while True:
                row = await self._look(viewer, sandbox_id)
                status = SandboxStatus(row.status)
                if status is SandboxStatus.STOPPED:
                    return row
                if status in before(SandboxStatus.STOPPING):
                    begun = await self._begin_stop(viewer, row)
                    if begun is not None:
                        ending = Ending(SandboxStatus.STOPPED, None)
                        stopped = await self._carriers.stopper.carry_out(begun, ending)
                        if stopped is not None:
                            return stopped
                await patience.wait(f"The sandbox is {status}")

    async def restart(self, viewer: Viewer, sandbox_id: SandboxId) -> SandboxRow:
        """Clear the interpreter's state. Raises `ConflictError` unless RUNNING."""
        row = await self._look(viewer, sandbox_id)
        if row.status != SandboxStatus.RUNNING or row.session_id is None:
            raise ConflictError(
                f"The sandbox is {row.status}: only a RUNNING one can be restarted.",
                status=row.status,
            )
        async with self._carriers.losses.noticed(row.session_id):
            await self._executor.restart(row.session_id)
        return await self._look(viewer, sandbox_id)

    async def delete(self, viewer: Viewer, sandbox_id: SandboxId) -> None:
        """Remove the sandbox with all that it has; another's deletion is waited for."""
        awaited = False
        with self._waiting(viewer) as listener:
            patience = self._patience(listener)
            while True:
                row = await self._find(viewer, sandbox_id)
                if row is None:
                    if awaited:
                        return
                    raise NotFoundError(NO_SANDBOX)
                awaited = True
                if not (row.deleting and is_held(row)):
                    begun = await self._begin_delete(viewer, row)
                    if begun is not None:
                        await self._carriers.stopper.destroy(begun)
                        return
                await patience.wait("The sandbox is being deleted")

    async def fail(self, viewer: Viewer, sandbox_id: SandboxId, reason: str) -> None:
        """Record that a sandbox could not be started, before anything of it was."""
        operation = self._start_operation()
        async with self._transactions.of(viewer) as session:
            sandboxes = SandboxRepository(session)
            begun = await sandboxes.begin_operation(
                sandbox_id,
                from_statuses=before(SandboxStatus.STARTING),
                to_status=SandboxStatus.STARTING,
                operation_id=operation.id,
                deadline=operation.deadline,
            )
            if begun is not None:
                await sandboxes.finish_operation(
                    sandbox_id, operation.id, SandboxStatus.FAILED, status_reason=reason
                )
        self._nudges.changed(viewer.id)

    async def _begin_start(self, viewer: Viewer, sandbox_id: SandboxId) -> SandboxRow | None:
        operation = self._start_operation()
        async with self._transactions.of(viewer, serialized=True) as session:
            sandboxes = SandboxRepository(session)
            row = await sandboxes.get(sandbox_id)
            if row is None:
                raise NotFoundError(NO_SANDBOX)
            begun = await sandboxes.begin_operation(
                sandbox_id,
                from_statuses=before(SandboxStatus.STARTING),
                to_status=SandboxStatus.STARTING,
                operation_id=operation.id,
                deadline=operation.deadline,
                status_reason=None,
                session_id=row.session_id or self._new_session_id(),
            )
            if begun is not None:
                # Counted with this one in it; refused, all of it is rolled back.
                check_running((await sandboxes.usage()).running, self._quotas)
        self._nudges.changed(viewer.id)
        return begun

    async def _begin_stop(self, viewer: Viewer, row: SandboxRow) -> SandboxRow | None:
        operation = self._carriers.stopper.operation()
        async with self._transactions.of(viewer) as session:
            begun = await SandboxRepository(session).begin_operation(
                row.id,
                from_statuses=[row.status],
                to_status=SandboxStatus.STOPPING,
                operation_id=operation.id,
                deadline=operation.deadline,
                take_over=row.status == SandboxStatus.STARTING,
                status_reason=None,
            )
        self._nudges.changed(viewer.id)
        return begun

    async def _begin_delete(self, viewer: Viewer, row: SandboxRow) -> SandboxRow | None:
        operation = self._carriers.stopper.operation()
        async with self._transactions.of(viewer) as session:
            begun = await SandboxRepository(session).begin_operation(
                row.id,
                from_statuses=list(SandboxStatus),
                to_status=SandboxStatus.STOPPING,
                operation_id=operation.id,
                deadline=operation.deadline,
                take_over=not row.deleting,
                status_reason="It is being deleted.",
                deleting=True,
            )
        self._nudges.changed(viewer.id)
        return begun

    async def _find(self, viewer: Viewer, sandbox_id: SandboxId) -> SandboxRow | None:
        async with self._transactions.of(viewer) as session:
            return await SandboxRepository(session).get(sandbox_id)

    async def _look(self, viewer: Viewer, sandbox_id: SandboxId) -> SandboxRow:
        """Return the row, once nothing stale is on it."""
        row = await self._find(viewer, sandbox_id)
        if row is not None and is_stale(row):
            await self._carriers.resolver.resolve(row)
            row = await self._find(viewer, sandbox_id)
        if row is None:
            raise NotFoundError(NO_SANDBOX)
        return row

    def _start_operation(self) -> Operation:
        """Make an operation that is long enough for a start."""
        return Operation.of(self._sessions.start_timeout_seconds + START_MARGIN_SECONDS)

    def _new_session_id(self) -> str:
        """Make the id of a session that no node has seen."""
        return f"{self._sessions.instance}-{uuid4().hex}"

    def _waiting(self, viewer: Viewer) -> AbstractContextManager[Listener]:
        return self._nudges.listen(viewer.id)

    def _patience(self, listener: Listener) -> Patience:
        longest = self._sessions.start_timeout_seconds + self._sessions.stop_timeout_seconds
        return Patience(longest + DEADLINE_MARGIN_SECONDS, listener)


def check_running(running: int, quotas: ViewerLimits) -> None:
    """Raise `QuotaExceededError` where so many may not run at once."""
    if running > quotas.max_running_sandboxes:
        raise QuotaExceededError(
            f"{quotas.max_running_sandboxes} sandboxes may run at once: stop one first.",
            limit="maxRunningSandboxes",
        )


def _not_started(row: SandboxRow) -> ConflictError | ServiceUnavailableError:
    if row.status == SandboxStatus.FAILED:
        return ServiceUnavailableError(row.status_reason or "The sandbox could not be started.")
    return ConflictError("The sandbox was stopped while it was starting.", status=row.status)
