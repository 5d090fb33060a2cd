"""Pages of one sandbox's executions: the product reads those of many at once."""

from uuid import UUID

from db.repositories.execution_pages import ExecutionPageRepository
from db.repositories.executions import PageSize
from db.repositories.slices import Position, Slice
from db.sessions import TenantSession
from db.tables import ExecutionRow
from services.assembly import Assembled
from services.entities import Execution, ExecutionOutline, Page, SandboxId, Viewer
from services.errors import ServiceError
from services.read_budget import ReadBudget


async def rows_of(
    session: TenantSession,
    sandbox_id: UUID,
    first: int,
    after: Position | None = None,
    *,
    large: bool = True,
) -> Slice[ExecutionRow]:
    """Return a page of one sandbox's rows."""
    found = await ExecutionPageRepository(session).pages([sandbox_id], first, after, large=large)
    return found[sandbox_id]


async def size_of(
    session: TenantSession, sandbox_id: UUID, first: int, after: Position | None = None
) -> PageSize:
    """Measure what `rows_of` returns."""
    return (await ExecutionPageRepository(session).sizes([sandbox_id], first, after))[sandbox_id]


async def count_of(session: TenantSession, sandbox_id: UUID) -> int:
    """Count one sandbox's rows."""
    return (await ExecutionPageRepository(session).counts([sandbox_id]))[sandbox_id]


async def page_of(
    services: Assembled,
    viewer: Viewer,
    sandbox_id: SandboxId,
    first: int = 20,
    after: str | None = None,
    budget: ReadBudget | None = None,
) -> Page[Execution]:
    """Return a page of one sandbox's executions; raises what it is refused by."""
    [found] = await services.pages.whole(viewer, [sandbox_id], first, after, budget or ReadBudget())
    if isinstance(found, ServiceError):
        raise found
    return found


async def outlines_of(
    services: Assembled, viewer: Viewer, sandbox_id: SandboxId
) -> Page[ExecutionOutline]:
    """Do what `page_of` does, without what is large."""
    [found] = await services.pages.outlines(viewer, [sandbox_id], 20, None, ReadBudget())
    if isinstance(found, ServiceError):
        raise found
    return found
