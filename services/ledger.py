"""How executions ended and what is installed, written once, whoever saw it first."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from db.repositories.running import ExecutionEnd, RunningRepository
from db.tables import SandboxRow
from services.conversion import lost_error, moment
from services.executor.messages import ExecutionRecord, InstalledPackage
from services.results import encode_error, encode_results
from services.transactions import Transactions


class Ledger:
    """Writes with the rights of background work; what has ended is never written over."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def record(self, records: Sequence[ExecutionRecord]) -> None:
        """Write executions that have ended; those that have not are left out."""
        ended = ends_of(records)
        if ended:
            async with self._transactions.background() as session:
                await RunningRepository(session).record_executions(ended)

    async def lose_one(self, execution_id: UUID, reason: str) -> None:
        """Record one execution as LOST where it has not ended."""
        now = datetime.now(UTC)
        async with self._transactions.background() as session:
            await RunningRepository(session).lose_execution(
                execution_id, error=encode_error(lost_error(reason)), at=now
            )

    async def discard(self, execution_id: UUID) -> None:
        """Take back an execution that no session has accepted."""
        async with self._transactions.background() as session:
            await RunningRepository(session).discard_execution(execution_id)

    async def raise_last_seq(self, execution_id: UUID, seq: int) -> None:
        """Note how far a reader of a LOST execution came, so that others are told the same."""
        async with self._transactions.background() as session:
            await RunningRepository(session).raise_last_seq(execution_id, seq)

    async def settle_packages(
        self,
        row: SandboxRow,
        ask: Callable[[SandboxRow], Awaitable[Sequence[InstalledPackage] | None]],
    ) -> None:
        """Write what a sandbox can import now, unless nobody answers.

        It is asked while nobody else writes: an older answer never comes after a newer one.
        (The recorder's may, and it corrects itself, since it knows the version it has.)
        """
        async with self._transactions.background() as session:
            running = RunningRepository(session)
            await running.lock_packages(row.id)
            packages = await ask(row)
            if packages is not None:
                await running.replace_packages(row.id, row.owner_id, pairs_of(packages))


def pairs_of(packages: Sequence[InstalledPackage]) -> list[tuple[str, str]]:
    """Return names and versions by name; a folder may hold two versions of one name."""
    return sorted({each.name: each.version for each in packages}.items())


async def lose(running: RunningRepository, sandbox_id: UUID, reason: str) -> None:
    """Record every unended execution of a sandbox as LOST, in a transaction that is there."""
    await running.lose_executions(
        sandbox_id, error=encode_error(lost_error(reason)), at=datetime.now(UTC)
    )


def ends_of(records: Sequence[ExecutionRecord]) -> list[ExecutionEnd]:
    """Return the ended ones of the records as the database keeps them."""
    return [_end_of(record) for record in records if record.status.ended]


def _end_of(record: ExecutionRecord) -> ExecutionEnd:
    return ExecutionEnd(
        id=UUID(record.execution_id),
        status=record.status.value,
        exit_code=record.exit_code,
        stdout=record.stdout.encode(errors="replace"),
        stderr=record.stderr.encode(errors="replace"),
        output_truncated=record.output_truncated,
        results=encode_results(record.results),
        error=None if record.error is None else encode_error(record.error),
        execution_count=record.execution_count,
        started_at=None if record.started_at is None else moment(record.started_at),
        finished_at=None if record.finished_at is None else moment(record.finished_at),
        duration_ms=record.duration_ms,
        last_seq=record.last_seq,
        interpreter_restarted=record.interpreter_restarted,
    )
