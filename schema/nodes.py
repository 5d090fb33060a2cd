"""The `Node` interface and the two nodes, executions and sandboxes, which lead to each other."""

# mypy: disable-error-code="untyped-decorator"
# (Strawberry types its decorators as Any where they take arguments.)

from datetime import datetime
from functools import partial
from typing import Self

import strawberry

from resolvers import executions as resolve_executions
from resolvers import files as resolve_files
from resolvers import packages as resolve_packages
from resolvers import sandboxes as resolve_sandboxes
from schema.connections import Connection
from schema.display import CodeError, DisplayData
from schema.enums import ExecutionKind, ExecutionStatus, SandboxStatus
from schema.files import File, FileEntry
from schema.info import Info
from schema.inputs import given
from schema.packages import Package
from schema.sandbox_figures import SandboxLimits, SandboxStats
from schema.scalars import JSON
from schema.selections import PAGE, large_copies
from services import entities
from services.cursors import check_page


@strawberry.interface(description="Anything with an identity. Ids are UUIDs, unique across types.")
class Node:
    """The contract's `Node`."""

    id: strawberry.ID


def _code(root: "Execution") -> str:
    return root.whole.code


def _stdout(root: "Execution") -> str:
    return root.whole.stdout


def _stderr(root: "Execution") -> str:
    return root.whole.stderr


def _results(root: "Execution") -> list[DisplayData]:
    return [DisplayData.of(result) for result in root.whole.results]


@strawberry.type
class Execution(Node):
    """The contract's `Execution`; a page that is asked for nothing large has outlines alone."""

    entity: strawberry.Private[entities.ExecutionOutline]
    kind: ExecutionKind
    client_execution_id: str | None
    code: str = strawberry.field(
        resolver=_code, description="An INSTALL's requirements, a line each."
    )
    status: ExecutionStatus
    exit_code: int | None = strawberry.field(
        description="0 for SUCCEEDED, else not 0; null until it ends."
    )
    stdout: str = strawberry.field(resolver=_stdout)
    stderr: str = strawberry.field(resolver=_stderr)
    output_truncated: bool = strawberry.field(
        description=(
            "stdout or stderr was over the limit that is kept; the head and the tail stay."
        )
    )
    results: list[DisplayData] = strawberry.field(resolver=_results)
    error: CodeError | None
    execution_count: int | None = strawberry.field(
        description="The interpreter's running number, as in In[3]."
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: float | None
    last_seq: int = strawberry.field(
        description="The number of the last event so far: a reader may resume from here."
    )

    @classmethod
    def of(cls, execution: entities.ExecutionOutline) -> Self:
        """Show an execution as it is now."""
        return cls(
            id=strawberry.ID(str(execution.id)),
            entity=execution,
            kind=ExecutionKind(execution.kind),
            client_execution_id=execution.client_execution_id,
            status=ExecutionStatus(execution.status),
            exit_code=execution.exit_code,
            output_truncated=execution.output_truncated,
            error=None if execution.error is None else CodeError.of(execution.error),
            execution_count=execution.execution_count,
            created_at=execution.created_at,
            started_at=execution.started_at,
            finished_at=execution.finished_at,
            duration_ms=execution.duration_ms,
            last_seq=execution.last_seq,
        )

    @property
    def whole(self) -> entities.Execution:
        """All of it. Raises `TypeError` where it was read without what is large."""
        if not isinstance(self.entity, entities.Execution):
            raise TypeError("The execution was read without its code, output and results.")
        return self.entity

    @strawberry.field
    async def sandbox(self) -> "Sandbox":
        """Load where it runs."""
        return Sandbox.of(await resolve_sandboxes.load(self.entity.sandbox_id))


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
    async def stats(self) -> SandboxStats | None:
        """Measure it."""
        stats = await resolve_sandboxes.stats(self.entity)
        return None if stats is None else SandboxStats.of(stats)

    @strawberry.field(description="Newest first. `first` is at most 100.")
    async def executions(
        self, info: Info, first: int = 20, after: str | None = strawberry.UNSET
    ) -> Connection[Execution]:
        """Open the connection; its fields fetch what they need, of a page that can be."""
        check_page(first, given(after))
        load = partial(
            resolve_executions.page,
            self.entity,
            first,
            given(after),
            large=large_copies(info, *PAGE),
        )
        count = partial(resolve_executions.count, self.entity)
        return Connection[Execution].of(load, Execution.of, count)

    @strawberry.field
    async def packages(self) -> list[Package]:
        """List what is installed."""
        found = await resolve_packages.list_packages(self.entity)
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
