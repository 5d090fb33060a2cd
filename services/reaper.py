"""Stops sandboxes that are idle or old, and removes records that are older than they are kept."""

import asyncio
from datetime import UTC, datetime, timedelta

from db.repositories.running import RunningRepository
from db.tables import SandboxRow
from services.conversion import moment
from services.duty import logged, repeat
from services.entities import SandboxStatus
from services.executor.errors import ExecutorError, SessionGoneError
from services.executor.interface import Executor
from services.executor.messages import SessionState
from services.expiry import Expiry, expiry
from services.losses import Losses
from services.operations import Operations
from services.stopper import Ending, Stopper
from services.transactions import Transactions

REAP_SECONDS = 1.0
PURGE_SECONDS = 600.0
PURGE_ROWS = 1_000


class Reaper:
    """Looks each second who is due; run by the keeper of the lease alone."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        losses: Losses,
        stopper: Stopper,
        operations: Operations,
        retention_seconds: float,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._losses = losses
        self._stopper = stopper
        self._operations = operations
        self._retention = timedelta(seconds=retention_seconds)

    async def run(self) -> None:
        """Reap and purge until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(repeat(self.reap, REAP_SECONDS))
            group.create_task(repeat(self.purge, PURGE_SECONDS))

    async def reap(self) -> None:
        """Stop every sandbox that is due now. Raises `ServiceUnavailableError`."""
        async with self._transactions.background() as session:
            running = RunningRepository(session)
            rows = await running.alive()
            busy = {each.sandbox_id for each in await running.unended()}
        due = [row for row in rows if _is_due(row, busy=row.id in busy)]
        await asyncio.gather(*(self._stop_quietly(row) for row in due))

    async def purge(self) -> None:
        """Remove old records, some at a time. Raises `ServiceUnavailableError`."""
        before = datetime.now(UTC) - self._retention
        gone = PURGE_ROWS
        while gone == PURGE_ROWS:
            async with self._transactions.background() as session:
                gone = await RunningRepository(session).purge_executions(before, PURGE_ROWS)

    async def _stop_quietly(self, row: SandboxRow) -> None:
        with logged("sandbox not reaped", sandbox=str(row.id)):
            due = await self._look_closer(row)
            if due is not None:
                ending = Ending(SandboxStatus.STOPPED, due.reason, f"The sandbox {due.reason}.")
                await self._operations.run(self._stopper.close(row, ending))

    async def _look_closer(self, row: SandboxRow) -> Expiry | None:
        """Ask the session itself: it knows of use that no record tells."""
        if row.session_id is None:
            return None
        try:
            state = await self._executor.state(row.session_id)
        except SessionGoneError:
            await self._losses.session_gone(row.session_id)
            return None
        except ExecutorError:
            return None
        return _due(row, state)


def _is_due(row: SandboxRow, *, busy: bool) -> bool:
    ends = _expiry(row, row.last_active_at, busy=busy)
    return ends is not None and ends.at <= datetime.now(UTC)


def _due(row: SandboxRow, state: SessionState) -> Expiry | None:
    ends = _expiry(row, moment(state.last_active_at), busy=state.busy)
    return ends if ends is not None and ends.at <= datetime.now(UTC) else None


def _expiry(row: SandboxRow, last_active_at: datetime | None, *, busy: bool) -> Expiry | None:
    if row.status != SandboxStatus.RUNNING or row.started_at is None:
        return None
    return expiry(
        started_at=row.started_at,
        last_active_at=last_active_at,
        busy=busy,
        idle_timeout_seconds=row.idle_timeout_seconds,
        lifetime_seconds=row.lifetime_seconds,
    )
