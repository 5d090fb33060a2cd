"""Sandboxes as services look them up: a row, and whether it is in use."""

from collections.abc import Sequence

from db.repositories.executions import ExecutionRepository
from db.repositories.sandboxes import SandboxRepository
from db.sessions import TenantSession
from db.tables import SandboxRow
from services.checks import check_sandbox_id
from services.conversion import sandbox_of
from services.entities import Sandbox, SandboxStatus, Viewer
from services.errors import ConflictError, NotFoundError
from services.settings import ServiceSettings
from services.transactions import Transactions

NO_SANDBOX = "There is no such sandbox."


async def entities_of(
    session: TenantSession, rows: Sequence[SandboxRow], settings: ServiceSettings
) -> list[Sandbox]:
    """Turn rows into entities; only running ones can be in use."""
    running = [row.id for row in rows if row.status == SandboxStatus.RUNNING]
    busy = await ExecutionRepository(session).busy_sandboxes(running) if running else frozenset()
    return [sandbox_of(row, settings, busy=row.id in busy) for row in rows]


async def need_running(transactions: Transactions, viewer: Viewer, sandbox_id: str) -> SandboxRow:
    """Return a RUNNING sandbox's row. Raises `NotFoundError` and `ConflictError`."""
    name = check_sandbox_id(sandbox_id)
    async with transactions.of(viewer) as session:
        row = await SandboxRepository(session).get(name)
    if row is None:
        raise NotFoundError(NO_SANDBOX)
    require_running(SandboxStatus(row.status))
    return row


def is_running(sandbox: Sandbox | SandboxRow) -> bool:
    """Whether there is a session to ask."""
    return sandbox.status == SandboxStatus.RUNNING and sandbox.session_id is not None


def require_running(status: SandboxStatus) -> None:
    """Raise `ConflictError` unless RUNNING."""
    if status is not SandboxStatus.RUNNING:
        raise ConflictError(
            f"The sandbox is {status}, not RUNNING: start it first.", status=status.value
        )


def require_owner(viewer: Viewer, sandbox: Sandbox) -> None:
    """Raise `NotFoundError` for another's sandbox, wherever it was come by."""
    if sandbox.owner_id != viewer.id:
        raise NotFoundError(NO_SANDBOX)
