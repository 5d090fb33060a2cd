"""Sandboxes, all that hangs on them, and their connection."""

# mypy: disable-error-code="untyped-decorator"
# (Strawberry types its decorators as Any where they take arguments.)

from datetime import datetime
from functools import partial
from typing import Self

import strawberry

from resolvers import executions as resolve_executions
from resolvers import files as resolve_files
from resolvers import packages as resolve_packages
from resolvers import sandboxes as resolve
from schema.connections import Connection
from schema.enums import SandboxStatus
from schema.executions import Execution
from schema.files import File, FileEntry
from schema.info import Info
from schema.inputs import given
from schema.node import Node
from schema.packages import Package
from schema.sandbox_figures import SandboxLimits, SandboxStats
from schema.scalars import JSON
from schema.selections import selects_large
from services import entities


@strawberry.type
class Sandbox(Node):
    """The contract's `Sandbox`."""

    entity: strawberry.Private[entities.Sandbox]
    name: str | None
    status: SandboxStatus
    status_reason: str | None = strawberry.field(
        description="Why the sandbox has this status, where it is worth saying."
    )
    image: str
    metadata: JSON = strawberry.field(description="Free string-to-string pairs of the owner's.")
    environment_variable_names: list[str] = strawberry.field(
        description="Names only: values are write-only."
    )
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    last_active_at: datetime | None
    expires_at: datetime | None = strawberry.field(
        description=(
            "When it will be stopped, by idleness or by age, whichever is earlier; "
            "null unless RUNNING."
        )
    )

    @classmethod
    def of(cls, sandbox: entities.Sandbox) -> Self:
        """Show a sandbox as it is now."""
        return cls(
            id=strawberry.ID(str(sandbox.id)),
            entity=sandbox,
            name=sandbox.name,
            status=SandboxStatus(sandbox.status),
            status_reason=sandbox.status_reason,
            image=sandbox.image,
            metadata=JSON(dict(sandbox.metadata)),
            environment_variable_names=list(sandbox.environment_variable_names),
            created_at=sandbox.created_at,
            updated_at=sandbox.updated_at,
            started_at=sandbox.started_at,
            last_active_at=sandbox.last_active_at,
            expires_at=sandbox.expires_at,
        )

    @strawberry.field
    def limits(self) -> SandboxLimits:
        """Show what it may use."""
        return SandboxLimits.of(self.entity.limits)

    @strawberry.field(description="Null unless RUNNING.")
    async def stats(self, info: Info) -> SandboxStats | None:
        """Measure it."""
        stats = await resolve.stats(info.context, self.entity)
        return None if stats is None else SandboxStats.of(stats)

    @strawberry.field(description="Newest first. `first` is at most 100.")
    async def executions(
        self, info: Info, first: int = 20, after: str | None = strawberry.UNSET
    ) -> Connection[Execution]:
        """Open the connection; its fields fetch what they need."""
        load = partial(
            resolve_executions.page,
            info.context,
            self.entity,
            first,
            given(after),
            large=selects_large(info),
        )
        count = partial(resolve_executions.count, info.context, self.entity)
        return Connection[Execution].of(load, Execution.of, count)

    @strawberry.field
    async def packages(self, info: Info) -> list[Package]:
        """List what is installed."""
        found = await resolve_packages.list_packages(info.context, self.entity)
        return [Package.of(package) for package in found]

    @strawberry.field(
        description=(
            "A folder's entries by name. Paths are relative to the workspace, "
            "or absolute below it. Null with CONFLICT unless RUNNING."
        )
    )
    async def files(
        self,
        info: Info,
        path: str = ".",
        first: int = 1000,
        after: str | None = strawberry.UNSET,
    ) -> list[FileEntry] | None:
        """List a folder."""
        found = await resolve_files.list_files(info.context, self.entity, path, first, given(after))
        return [FileEntry.of(entry) for entry in found]

    @strawberry.field(
        description="One file; null where there is none, null with CONFLICT unless RUNNING."
    )
    async def file(self, info: Info, path: str) -> File | None:
        """Look for one file."""
        entry = await resolve_files.get(info.context, self.entity, path)
        return None if entry is None else File.of(self.entity.id, entry)


@strawberry.type(description="A sandbox after a change; `deletedSandboxId` alone after a deletion.")
class SandboxChange:
    """The contract's `SandboxChange`."""

    sandbox: Sandbox | None
    deleted_sandbox_id: strawberry.ID | None
    at: datetime

    @classmethod
    def of(cls, change: entities.SandboxChange) -> Self:
        """Show a change."""
        deleted = change.deleted_sandbox_id
        return cls(
            sandbox=None if change.sandbox is None else Sandbox.of(change.sandbox),
            deleted_sandbox_id=None if deleted is None else strawberry.ID(str(deleted)),
            at=change.at,
        )
