"""What can be asked."""

# mypy: disable-error-code="untyped-decorator"
# (Strawberry types its decorators as Any where they take arguments.)

# ruff: noqa: A002 - arguments bear the names that the contract gives them

from functools import partial

import strawberry

from resolvers import executions as resolve_executions
from resolvers import node as resolve_node
from resolvers import sandboxes as resolve_sandboxes
from resolvers import viewer as resolve_viewer
from schema.connections import Connection
from schema.info import Info
from schema.inputs import SandboxFilter, given
from schema.nodes import Execution, Node, Sandbox
from schema.selections import large_copies
from schema.viewer import Viewer
from services import entities
from services.cursors import check_page


@strawberry.type
class Query:
    """The contract's `Query`."""

    @strawberry.field(description="The user that the token names.")
    async def viewer(self, info: Info) -> Viewer:
        """Show who asks."""
        return Viewer.of(await resolve_viewer.get(info.context))

    @strawberry.field(
        description=(
            "Any node of the viewer's by id; null where there is none that the viewer may see."
        )
    )
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        """Look for anything by id."""
        found = await resolve_node.get(info.context, id, large=large_copies(info))
        match found:
            case entities.Sandbox():
                return Sandbox.of(found)
            case entities.ExecutionOutline():
                return Execution.of(found)
            case None:
                return None

    @strawberry.field(
        description=(
            "One sandbox of the viewer's; null where there is none that the viewer may see."
        )
    )
    async def sandbox(self, info: Info, id: strawberry.ID) -> Sandbox | None:
        """Look for a sandbox."""
        found = await resolve_sandboxes.get(info.context, id)
        return None if found is None else Sandbox.of(found)

    @strawberry.field(description="The viewer's sandboxes, newest first. `first` is at most 100.")
    async def sandboxes(
        self,
        info: Info,
        first: int = 20,
        after: str | None = strawberry.UNSET,
        filter: SandboxFilter | None = strawberry.UNSET,
    ) -> Connection[Sandbox]:
        """Open the connection; its fields fetch what they need, of a page that can be."""
        check_page(first, given(after))
        asked = given(filter)
        wanted = entities.SandboxFilter() if asked is None else asked.entity()
        load = partial(resolve_sandboxes.page, info.context, first, given(after), wanted)
        count = partial(resolve_sandboxes.count, info.context, wanted)
        return Connection[Sandbox].of(load, Sandbox.of, count)

    @strawberry.field(
        description=(
            "One execution of the viewer's; null where there is none that the viewer may see."
        )
    )
    async def execution(self, info: Info, id: strawberry.ID) -> Execution | None:
        """Look for an execution."""
        found = await resolve_executions.get(info.context, id, large=large_copies(info))
        return None if found is None else Execution.of(found)
