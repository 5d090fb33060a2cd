"""Operations whose process went away half-way, brought to an end by looking at what is there."""

from collections.abc import Collection

from db.repositories.running import RunningRepository
from db.tables import SandboxRow
from services.entities import SandboxStatus
from services.executor.errors import ClusterUnavailableError, ExecutorError
from services.executor.interface import Executor
from services.starter import Starter
from services.stopper import Ending, Stopper
from services.transactions import Transactions
from services.transitions import Operation
from services.translate import from_executor

UNFINISHED_START = "Its start was cut short: start it again."


class Resolver:
    """Takes over rows whose operation has outlived its deadline."""

    def __init__(
        self, transactions: Transactions, executor: Executor, starter: Starter, stopper: Stopper
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._starter = starter
        self._stopper = stopper

    async def resolve(self, row: SandboxRow) -> None:
        """End the stale operation on this row; nothing happens where somebody else did.

        Raises a `ServiceError` where the cluster does not answer; then it stays for later.
        """
        status = SandboxStatus(row.status)
        if status is SandboxStatus.STARTING:
            await self._resolve_start(row)
        elif status is SandboxStatus.STOPPING:
            await self._resolve_stop(row)
        elif status is not SandboxStatus.RUNNING:
            await self._stopper.sweep(row, row.node_id)

    async def _resolve_start(self, row: SandboxRow) -> None:
        if await self._lives(row):
            held = await self._take(row, SandboxStatus.STARTING, self._stopper.operation())
            if held is not None:
                # One that runs already answers as it is, and says where.
                await self._starter.carry_out(held)
            return
        held = await self._take(row, SandboxStatus.STOPPING, self._stopper.operation())
        if held is not None:
            ending = Ending(SandboxStatus.FAILED, UNFINISHED_START, UNFINISHED_START)
            await self._stopper.carry_out(held, ending)

    async def _resolve_stop(self, row: SandboxRow) -> None:
        held = await self._take(row, SandboxStatus.STOPPING, self._stopper.operation())
        if held is None:
            return
        if held.deleting:
            await self._stopper.destroy(held)
        else:
            await self._stopper.carry_out(held, Ending(SandboxStatus.STOPPED, held.status_reason))

    async def _lives(self, row: SandboxRow) -> bool:
        if row.session_id is None:
            return False
        try:
            await self._executor.stats(row.session_id)
        except ClusterUnavailableError as error:
            raise from_executor(error) from error
        except ExecutorError:
            return False
        return True

    async def _take(
        self, row: SandboxRow, status: SandboxStatus, operation: Operation
    ) -> SandboxRow | None:
        held_by: Collection[str] = [row.status]
        async with self._transactions.background() as session:
            return await RunningRepository(session).begin_operation(
                row.id,
                from_statuses=held_by,
                to_status=status,
                operation_id=operation.id,
                deadline=operation.deadline,
            )
