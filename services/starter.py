"""Carries out a start: from STARTING to RUNNING, or to FAILED with the reason."""

import asyncio
from typing import Unpack

from db.repositories.operations import SandboxFields
from db.repositories.running import RunningRepository
from db.tables import SandboxRow
from services.conversion import moment
from services.entities import SandboxId, SandboxStatus, UserId
from services.environment import EnvironmentCipher, EnvironmentUnreadableError
from services.errors import ConflictError, NotFoundError, ServiceError, ServiceUnavailableError
from services.executor.errors import ExecutorError, SessionGoneError
from services.executor.interface import Executor
from services.executor.messages import SessionInfo, SessionSpec
from services.ledger import lose
from services.nudges import Nudges
from services.patience import Patience
from services.persistence import persist
from services.settings import SessionSettings
from services.stopper import Stopper
from services.transactions import Transactions
from services.transitions import operation_id_of
from services.translate import from_executor

START_MARGIN_SECONDS = 5.0
"""What the executor has beyond the time-out to say itself what went wrong."""
INTERNAL_REASON = "It could not be started for a fault of ours: the log has it."
LOST_BEFORE = "The sandbox went away under it."


class Starter:
    """Starts the session of a row that is STARTING under an operation of ours."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        stopper: Stopper,
        cipher: EnvironmentCipher,
        settings: SessionSettings,
        nudges: Nudges,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._stopper = stopper
        self._cipher = cipher
        self._settings = settings
        self._nudges = nudges

    async def carry_out(self, row: SandboxRow) -> SandboxRow:
        """Return the row RUNNING.

        Raises the reason as a `ServiceError`, after the row is FAILED with it; and where
        the operation was taken over, `ConflictError` or, for a deletion, `NotFoundError`,
        after what was made is gone again.
        """
        try:
            info = await self._start(row)
        except Exception as error:
            reason = error.message if isinstance(error, ServiceError) else INTERNAL_REASON
            if await self._finish(row, SandboxStatus.FAILED, status_reason=reason) is None:
                return await self._give_way(row, row.node_id)
            raise
        started_at = moment(info.started_at)
        running = await self._finish(
            row,
            SandboxStatus.RUNNING,
            status_reason=None,
            node_id=info.node_id,
            started_at=started_at,
            last_active_at=started_at,
        )
        return running or await self._give_way(row, info.node_id)

    async def _start(self, row: SandboxRow) -> SessionInfo:
        try:
            spec = await self._spec(row)
            async with asyncio.timeout(self._settings.start_timeout_seconds + START_MARGIN_SECONDS):
                return await self._executor.start(spec)
        except SessionGoneError as error:
            raise ServiceUnavailableError("Its session went away: try again.") from error
        except ExecutorError as error:
            raise from_executor(error) from error
        except EnvironmentUnreadableError as error:
            raise ServiceUnavailableError(str(error)) from error
        except TimeoutError as error:
            await self._stopper.end_quietly(row, row.node_id)
            seconds = self._settings.start_timeout_seconds
            raise ServiceUnavailableError(f"It did not start within {seconds:g} s.") from error

    async def _spec(self, row: SandboxRow) -> SessionSpec:
        async with self._transactions.background() as session:
            running = RunningRepository(session)
            # Nothing could be begun since it ran last: what is left will never end.
            await lose(running, row.id, LOST_BEFORE)
            sealed = await running.environment(row.id)
        settings = self._settings
        return SessionSpec(
            session_id=row.session_id or "",
            instance=settings.instance,
            sandbox_id=str(row.id),
            owner_id=str(row.owner_id),
            image=row.image,
            environment={} if sealed is None else self._cipher.decrypt(SandboxId(row.id), sealed),
            limits=settings.limits,
            node_data_dir=settings.node_data_dir,
            runtime=settings.runtime,
            dockerfile=settings.images.get(row.image),
            package_index_url=settings.package_index_url,
            packages_enabled=settings.packages_enabled,
            num_cpus=settings.num_cpus,
            memory_reservation_bytes=settings.memory_reservation_bytes,
            node_id=row.node_id,
            start_timeout_seconds=settings.start_timeout_seconds,
        )

    async def _finish(
        self, row: SandboxRow, status: SandboxStatus, **fields: Unpack[SandboxFields]
    ) -> SandboxRow | None:
        async def write() -> SandboxRow | None:
            async with self._transactions.background() as session:
                return await RunningRepository(session).finish_operation(
                    row.id, operation_id_of(row), status, **fields
                )

        finished = await persist(write, row.operation_deadline)
        self._nudges.changed(UserId(row.owner_id))
        return finished

    async def _give_way(self, row: SandboxRow, node_id: str | None) -> SandboxRow:
        """Remove what was made for a row that somebody else has taken over, and say so.

        A row that is RUNNING all the same was started by whoever took it over, or by us
        where the answer to our commit was lost.
        """
        current = await self._settled(row)
        if current is None:
            await self._stopper.destroy_session(row, node_id)
            raise NotFoundError("The sandbox was deleted while it was starting.")
        if current.status == SandboxStatus.RUNNING:
            return current
        if current.status != SandboxStatus.STARTING:
            await self._stopper.sweep(current, node_id)
        raise ConflictError("The sandbox was stopped while it was starting.", status=current.status)

    async def _settled(self, row: SandboxRow) -> SandboxRow | None:
        """Wait until whoever took the row over has stopped or deleted it; None once gone."""
        with self._nudges.listen(UserId(row.owner_id)) as listener:
            patience = Patience(self._settings.stop_timeout_seconds, listener)
            while True:
                async with self._transactions.background() as session:
                    current = await RunningRepository(session).get(row.id)
                if current is None or current.status != SandboxStatus.STOPPING:
                    return current
                await patience.wait("The sandbox is being stopped")
