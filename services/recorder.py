"""Hears from every running session how executions ended, and writes it before it is forgotten."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from db.repositories.running import RunningRepository
from db.tables import SandboxRow
from services.conversion import moment
from services.entities import SandboxStatus
from services.errors import ServiceError, ServiceUnavailableError
from services.executor.errors import ExecutorError, SessionGoneError
from services.executor.interface import Executor
from services.executor.messages import Collected
from services.ledger import ends_of, pairs_of
from services.losses import Losses
from services.nudges import Nudges
from services.operations import Operations
from services.stopper import Ending, Stopper
from services.transactions import Transactions

DISCOVERY_SECONDS = 1.0
COLLECT_SECONDS = 5.0
"""How long a session may have nothing to say; a busy one is noted as active so often."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
ACTIVITY_STEP = timedelta(seconds=1)
ANY_VERSION = -1
"""Older than every version of a session's package list, so that `collect` gives it."""

_log = structlog.get_logger(__name__)

type Life = tuple[str, datetime | None]
"""A session from one start to its end: its id, and when it was started."""


class Recorder:
    """One long-poll a RUNNING session; run by the keeper of the lease alone."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        losses: Losses,
        stopper: Stopper,
        operations: Operations,
        nudges: Nudges,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._losses = losses
        self._stopper = stopper
        self._operations = operations
        self._nudges = nudges

    async def run(self) -> None:
        """Record until cancelled; new sessions are found within a second."""
        watches: dict[Life, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            with self._nudges.listen() as listener:
                while True:
                    running = await self._running()
                    if running is not None:
                        self._compare(running, watches, group)
                    await listener.wait(DISCOVERY_SECONDS)

    async def _running(self) -> dict[Life, SandboxRow] | None:
        try:
            async with self._transactions.background() as session:
                rows = await RunningRepository(session).alive()
        except ServiceUnavailableError:
            return None
        return {
            (row.session_id, row.started_at): row
            for row in rows
            if row.status == SandboxStatus.RUNNING and row.session_id is not None
        }

    def _compare(
        self,
        running: dict[Life, SandboxRow],
        watches: dict[Life, asyncio.Task[None]],
        group: asyncio.TaskGroup,
    ) -> None:
        for life, watch in list(watches.items()):
            if watch.done():
                del watches[life]
            elif life not in running:
                watch.cancel()  # whoever ends it writes its records
        for life, row in running.items():
            if life not in watches:
                watches[life] = group.create_task(self._watch_safely(row, life[0]))

    async def _watch_safely(self, row: SandboxRow, session_id: str) -> None:
        try:
            await self._watch(row, session_id)
        except ServiceError as error:
            _log.warning("session not watched", session=session_id, reason=error.message)
            await asyncio.sleep(DISCOVERY_SECONDS)
        except Exception:  # noqa: BLE001 # one session's fault must not keep the others from it
            _log.exception("session not watched", session=session_id)
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)

    async def _watch(self, row: SandboxRow, session_id: str) -> None:
        written: tuple[str, ...] = ()
        version, pause, active = ANY_VERSION, FIRST_PAUSE_SECONDS, datetime.min.replace(tzinfo=UTC)
        while True:
            try:
                collected = await self._executor.collect(
                    session_id, written, version, wait_seconds=COLLECT_SECONDS
                )
                active = await self._write(row, collected, active)
            except SessionGoneError:
                await self._losses.session_gone(session_id)
                return
            except (ExecutorError, ServiceUnavailableError) as error:
                # What is not acknowledged is given again.
                written = ()
                _log.warning("session not recorded", session=session_id, reason=error.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            written = tuple(record.execution_id for record in collected.ended)
            version = collected.packages_version
            if (ending := Ending.told(collected)) is not None:
                # As an operation, since the row that is not RUNNING then ends this watch.
                await self._operations.run(self._stopper.close(row, ending))
                return

    async def _write(self, row: SandboxRow, collected: Collected, active: datetime) -> datetime:
        """Write what is new, and return until when the sandbox is on record as active."""
        now = datetime.now(UTC) if collected.busy else moment(collected.last_active_at)
        touched = now - active >= ACTIVITY_STEP or bool(collected.ended)
        if not (touched or collected.packages is not None):
            return active
        async with self._transactions.background() as session:
            running = RunningRepository(session)
            await running.record_executions(ends_of(collected.ended))
            if collected.packages is not None:
                await running.replace_packages(row.id, row.owner_id, pairs_of(collected.packages))
            await running.touch({row.id: now})
        return now
