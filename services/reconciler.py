"""Brings records and reality together: after restarts, and for what nobody else noticed."""

import asyncio
from collections.abc import Sequence

import structlog

from db.repositories.running import RunningRepository, UnendedExecution
from db.tables import SandboxRow
from services.conversion import handle_of
from services.duty import logged, repeat
from services.entities import SandboxStatus
from services.executor.interface import Executor
from services.executor.messages import SessionTrace
from services.ledger import Ledger
from services.losses import Losses
from services.resolver import Resolver
from services.settler import Settler
from services.stopper import STOPPED_UNDER_IT, Stopper
from services.transactions import Transactions
from services.transitions import is_held, is_stale
from services.translate import executor_errors

RECONCILE_SECONDS = 60.0
RESOLVE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Reconciler:
    """Compares what there is with what the records say; run by the keeper of the lease alone."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        *,
        resolver: Resolver,
        losses: Losses,
        stopper: Stopper,
        settler: Settler,
        ledger: Ledger,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._resolver = resolver
        self._losses = losses
        self._stopper = stopper
        self._settler = settler
        self._ledger = ledger

    async def run(self) -> None:
        """Reconcile at once and every minute, until cancelled.

        Operations that were cut short are seen to sooner: somebody may wait for one.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(repeat(self.reconcile, RECONCILE_SECONDS))
            group.create_task(repeat(self.resolve, RESOLVE_SECONDS))

    async def reconcile(self) -> None:
        """Compare once. Raises `ServiceUnavailableError` where it cannot look."""
        # What is there is read before the records: a session that is newer than this list
        # is on no list, so that it is never taken for one that is left over.
        with executor_errors():
            traces = await self._executor.inventory()
        async with self._transactions.background() as session:
            running = RunningRepository(session)
            # Before the sandboxes: one that runs by the time it is read is on their list.
            unended = await running.unended()
            alive = await running.alive()
            served = await running.by_session([trace.session_id for trace in traces])
            named = await running.session_ids()
        await self._resolve(alive)
        await self._find_lost(alive, traces)
        await self._remove_left_over(traces, served, named)
        await self._settle(alive, unended)

    async def resolve(self) -> None:
        """End operations whose process went away. Raises `ServiceUnavailableError`."""
        async with self._transactions.background() as session:
            alive = await RunningRepository(session).alive()
        await self._resolve(alive)

    async def _resolve(self, alive: Sequence[SandboxRow]) -> None:
        for row in alive:
            if is_stale(row):
                with logged("operation not resolved", sandbox=str(row.id)):
                    await self._resolver.resolve(row)

    async def _find_lost(self, alive: Sequence[SandboxRow], traces: Sequence[SessionTrace]) -> None:
        actors = {trace.session_id for trace in traces if trace.actor}
        for row in alive:
            if row.status == SandboxStatus.RUNNING and row.session_id not in actors:
                with logged("loss not recorded", sandbox=str(row.id)):
                    await self._losses.session_gone(row.session_id or "")

    async def _remove_left_over(
        self,
        traces: Sequence[SessionTrace],
        served: Sequence[SandboxRow],
        named: frozenset[str],
    ) -> None:
        rows = {row.session_id: row for row in served}
        for trace in traces:
            with logged("session still there", session=trace.session_id), executor_errors():
                if trace.session_id not in named:
                    await self._destroy(trace)
                elif (row := rows.get(trace.session_id)) is not None:
                    await self._sweep(row, trace)

    async def _destroy(self, trace: SessionTrace) -> None:
        _log.info("session left over", session=trace.session_id, node=trace.node_id)
        await self._executor.destroy(trace.session_id, trace.node_id)

    async def _sweep(self, row: SandboxRow, trace: SessionTrace) -> None:
        ended = row.status in (SandboxStatus.STOPPED, SandboxStatus.FAILED)
        if ended and not is_held(row) and (trace.actor or trace.container):
            await self._stopper.sweep(row, trace.node_id)

    async def _settle(
        self, alive: Sequence[SandboxRow], unended: Sequence[UnendedExecution]
    ) -> None:
        """End what the records have as unended, and no session will ever end."""
        by_id = {row.id: row for row in alive}
        for execution in unended:
            with logged("execution not settled", execution=str(execution.id)):
                await self._settle_one(by_id.get(execution.sandbox_id), execution)

    async def _settle_one(self, row: SandboxRow | None, execution: UnendedExecution) -> None:
        if row is None:
            await self._ledger.lose_one(execution.id, STOPPED_UNDER_IT)
        elif row.status == SandboxStatus.RUNNING:
            record = await self._settler.record_quietly(handle_of(execution))
            await self._ledger.record([] if record is None else [record])
