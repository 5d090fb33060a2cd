"""One operation: what it may read, and what many of its fields ask for at once."""

from collections.abc import Sequence
from contextvars import ContextVar
from functools import cached_property

from strawberry.dataloader import DataLoader

from resolvers.context import Context
from resolvers.loaders import Found, PageWanted, load_pages
from services.entities import Package, Sandbox, SandboxId, SandboxStats
from services.read_budget import ReadBudget
from services.session_turns import SessionTurns


class Operation:
    """Its loaders gather what the fields of one step want, and ask for it in one go.

    They keep nothing, since a subscription lives long and sandboxes change.
    """

    def __init__(self, context: Context) -> None:
        """Begin; a websocket's context has many."""
        self._context = context
        self.budget = ReadBudget()

    @cached_property
    def turns(self) -> SessionTurns:
        """Its turns at asking sessions."""
        return SessionTurns()

    @cached_property
    def sandboxes(self) -> DataLoader[SandboxId, Sandbox | None]:
        """Loads sandboxes by their ids."""
        return DataLoader(load_fn=self._load_sandboxes, cache=False)

    @cached_property
    def pages(self) -> DataLoader[tuple[SandboxId, PageWanted], Found]:
        """Loads pages of executions."""
        return DataLoader(load_fn=self._load_pages, cache=False)

    @cached_property
    def counts(self) -> DataLoader[SandboxId, int]:
        """Counts the executions of sandboxes."""
        return DataLoader(load_fn=self._count_executions, cache=False)

    @cached_property
    def packages(self) -> DataLoader[Sandbox, Sequence[Package]]:
        """Lists what sandboxes can import."""
        return DataLoader(load_fn=self._list_packages, cache=False)

    @cached_property
    def stats(self) -> DataLoader[Sandbox, SandboxStats | None]:
        """Measures sandboxes."""
        return DataLoader(load_fn=self._measure, cache=False)

    async def _load_sandboxes(self, ids: list[SandboxId]) -> list[Sandbox | None]:
        context = self._context
        found = await context.services.sandboxes.get_many(context.viewer, set(ids))
        by_id = {sandbox.id: sandbox for sandbox in found}
        return [by_id.get(sandbox_id) for sandbox_id in ids]

    async def _load_pages(self, keys: list[tuple[SandboxId, PageWanted]]) -> list[Found]:
        context = self._context
        return await load_pages(context.services.pages, context.viewer, keys, self.budget)

    async def _count_executions(self, ids: list[SandboxId]) -> list[int]:
        context = self._context
        return await context.services.pages.counts(context.viewer, ids)

    async def _list_packages(
        self, sandboxes: list[Sandbox]
    ) -> list[Sequence[Package] | BaseException]:
        context = self._context
        found = await context.services.packages.lists(context.viewer, sandboxes, self.turns)
        return [found.get(sandbox.id, ()) for sandbox in sandboxes]

    async def _measure(self, sandboxes: list[Sandbox]) -> list[SandboxStats | BaseException | None]:
        context = self._context
        found = await context.services.sandboxes.stats_of_many(
            context.viewer, sandboxes, self.turns
        )
        return [found.get(sandbox.id) for sandbox in sandboxes]


operation: ContextVar[Operation] = ContextVar("operation")
"""The one under way; set as it begins."""
