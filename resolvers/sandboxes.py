"""Fields that read and change sandboxes."""

from resolvers.context import Context
from resolvers.operation import operation
from resolvers.streams import OpenedStream
from services.entities import (
    NewSandbox,
    Page,
    Sandbox,
    SandboxChange,
    SandboxChanges,
    SandboxFilter,
    SandboxId,
    SandboxStats,
)
from services.errors import NotFoundError


async def get(context: Context, sandbox_id: str) -> Sandbox | None:
    """Resolve `Query.sandbox`."""
    return await context.services.sandboxes.get(context.viewer, sandbox_id)


async def load(sandbox_id: SandboxId) -> Sandbox:
    """Resolve `Execution.sandbox`, many at once; it may have been deleted just now."""
    found = await operation.get().sandboxes.load(sandbox_id)
    if found is None:
        raise NotFoundError("There is no such sandbox.")
    return found


async def page(
    context: Context, first: int, after: str | None, wanted: SandboxFilter
) -> Page[Sandbox]:
    """Resolve the items of `Query.sandboxes`."""
    return await context.services.sandboxes.page(context.viewer, first, after, wanted)


async def count(context: Context, wanted: SandboxFilter) -> int:
    """Resolve `SandboxConnection.totalCount`."""
    return await context.services.sandboxes.count(context.viewer, wanted)


async def stats(sandbox: Sandbox) -> SandboxStats | None:
    """Resolve `Sandbox.stats`, of many sandboxes at once."""
    return await operation.get().stats.load(sandbox)


async def create(context: Context, new: NewSandbox) -> Sandbox:
    """Resolve `Mutation.createSandbox`."""
    return await context.services.sandboxes.create(context.viewer, new)


async def update(context: Context, sandbox_id: str, changes: SandboxChanges) -> Sandbox:
    """Resolve `Mutation.updateSandbox`."""
    return await context.services.sandboxes.update(context.viewer, sandbox_id, changes)


async def start(context: Context, sandbox_id: str) -> Sandbox:
    """Resolve `Mutation.startSandbox`."""
    return await context.services.sandboxes.start(context.viewer, sandbox_id)


async def stop(context: Context, sandbox_id: str) -> Sandbox:
    """Resolve `Mutation.stopSandbox`."""
    return await context.services.sandboxes.stop(context.viewer, sandbox_id)


async def restart(context: Context, sandbox_id: str) -> Sandbox:
    """Resolve `Mutation.restartSandbox`."""
    return await context.services.sandboxes.restart(context.viewer, sandbox_id)


async def delete(context: Context, sandbox_id: str) -> SandboxId:
    """Resolve `Mutation.deleteSandbox`."""
    return await context.services.sandboxes.delete(context.viewer, sandbox_id)


async def changes(context: Context, sandbox_id: str | None) -> OpenedStream[SandboxChange]:
    """Resolve `Subscription.sandboxChanged`."""
    source = context.services.sandboxes.changes(context.viewer, sandbox_id)
    return await OpenedStream.open(source)
