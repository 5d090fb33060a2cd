"""Fields of `Viewer`."""

from resolvers.context import Context
from services.entities import Viewer, ViewerLimits, ViewerUsage


async def get(context: Context) -> Viewer:
    """Resolve `Query.viewer`."""
    return context.viewer


async def limits(context: Context) -> ViewerLimits:
    """Resolve `Viewer.limits`."""
    return await context.services.sandboxes.limits(context.viewer)


async def usage(context: Context) -> ViewerUsage:
    """Resolve `Viewer.usage`."""
    return await context.services.sandboxes.usage(context.viewer)
