"""The user that asks."""

from typing import Self

import strawberry

from resolvers import viewer as resolve
from schema.info import Info
from services import entities


@strawberry.type
class ViewerLimits:
    """The contract's `ViewerLimits`."""

    max_sandboxes: int
    max_running_sandboxes: int
    max_concurrent_executions: int

    @classmethod
    def of(cls, limits: entities.ViewerLimits) -> Self:
        """Show a user's limits."""
        return cls(
            max_sandboxes=limits.max_sandboxes,
            max_running_sandboxes=limits.max_running_sandboxes,
            max_concurrent_executions=limits.max_concurrent_executions,
        )


@strawberry.type
class ViewerUsage:
    """The contract's `ViewerUsage`."""

    sandboxes: int
    running_sandboxes: int
    running_executions: int

    @classmethod
    def of(cls, usage: entities.ViewerUsage) -> Self:
        """Show what a user has now."""
        return cls(
            sandboxes=usage.sandboxes,
            running_sandboxes=usage.running_sandboxes,
            running_executions=usage.running_executions,
        )


@strawberry.type
class Viewer:
    """The contract's `Viewer`."""

    id: strawberry.ID = strawberry.field(description="The `sub` of the token.")
    email: str | None
    role: str

    @classmethod
    def of(cls, viewer: entities.Viewer) -> Self:
        """Show a verified user."""
        return cls(id=strawberry.ID(str(viewer.id)), email=viewer.email, role=viewer.role)

    @strawberry.field
    async def limits(self, info: Info) -> ViewerLimits:
        """Fetch the limits."""
        return ViewerLimits.of(await resolve.limits(info.context))

    @strawberry.field
    async def usage(self, info: Info) -> ViewerUsage:
        """Count what there is now."""
        return ViewerUsage.of(await resolve.usage(info.context))
