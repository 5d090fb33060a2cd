"""`Query.node`: anything of the viewer's by its id."""

from resolvers import executions
from resolvers.context import Context
from services.entities import ExecutionOutline, Sandbox


async def get(context: Context, node_id: str, *, large: int) -> Sandbox | ExecutionOutline | None:
    """Resolve `Query.node`; ids are unique across types, so each is asked in turn."""
    sandbox = await context.services.sandboxes.get(context.viewer, node_id)
    if sandbox is not None:
        return sandbox
    return await executions.get(context, node_id, large=large)
