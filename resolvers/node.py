"""`Query.node`: anything of the viewer's by its id."""

from resolvers.context import Context
from services.entities import Execution, Sandbox


async def get(context: Context, node_id: str) -> Sandbox | Execution | None:
    """Resolve `Query.node`; ids are unique across types, so each is asked in turn."""
    sandbox = await context.services.sandboxes.get(context.viewer, node_id)
    if sandbox is not None:
        return sandbox
    return await context.services.executions.get(context.viewer, node_id)
