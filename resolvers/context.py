"""What an operation knows: who asks, and the services that answer."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from strawberry.dataloader import DataLoader

from resolvers.loaders import Found, PageWanted, load_pages
from services.entities import Sandbox, SandboxId, Viewer
from services.errors import UnauthenticatedError
from services.execution_pages import ExecutionPages
from services.executions import ExecutionService
from services.files import FileService
from services.packages import PackageService
from services.read_budget import ReadBudget
from services.sandboxes import SandboxService

read_budget: ContextVar[ReadBudget] = ContextVar("read_budget")
"""The operation's; set as it begins, since a websocket's context has many operations."""


@dataclass(frozen=True)
class Services:
    """Everything that resolvers may call."""

    sandboxes: SandboxService
    executions: ExecutionService
    pages: ExecutionPages
    packages: PackageService
    files: FileService


@dataclass
class Context:
    """One HTTP request, or one websocket with all its operations."""

    services: Services
    request_id: str
    verified: Viewer | None = None
    connection_params: dict[str, object] = field(default_factory=dict)

    @property
    def viewer(self) -> Viewer:
        """The user that the token names, as long as the token is valid.

        A websocket outlives its token, so that this raises `UnauthenticatedError` for
        what begins after the expiry.
        """
        if self.verified is None:
            raise UnauthenticatedError("Send a token: `Authorization: Bearer <jwt>`.")
        if self.verified.expires_at <= datetime.now(UTC):
            raise UnauthenticatedError("The token has expired: connect again with a new one.")
        return self.verified

    @cached_property
    def sandbox_loader(self) -> DataLoader[SandboxId, Sandbox | None]:
        """Loads the sandboxes that one step of an operation asks for in one go.

        It keeps nothing, since a websocket lives long and sandboxes change.
        """
        return DataLoader(load_fn=self._load_sandboxes, cache=False)

    @cached_property
    def page_loader(self) -> DataLoader[tuple[SandboxId, PageWanted], Found]:
        """Loads the pages of executions that one step asks for in one go."""
        return DataLoader(load_fn=self._load_pages, cache=False)

    @cached_property
    def count_loader(self) -> DataLoader[SandboxId, int]:
        """Counts the executions of all sandboxes that one step asks about in one go."""
        return DataLoader(load_fn=self._count_executions, cache=False)

    async def _load_pages(self, keys: list[tuple[SandboxId, PageWanted]]) -> list[Found]:
        return await load_pages(self.services.pages, self.viewer, keys)

    async def _count_executions(self, ids: list[SandboxId]) -> list[int]:
        return await self.services.pages.counts(self.viewer, ids)

    async def _load_sandboxes(self, ids: list[SandboxId]) -> list[Sandbox | None]:
        found = await self.services.sandboxes.get_many(self.viewer, set(ids))
        by_id = {sandbox.id: sandbox for sandbox in found}
        return [by_id.get(sandbox_id) for sandbox_id in ids]
