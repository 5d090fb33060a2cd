"""Executions and their connection."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from resolvers import sandboxes as resolve_sandboxes
from schema.display import CodeError, DisplayData
from schema.enums import ExecutionKind, ExecutionStatus
from schema.info import Info
from schema.node import Node
from services import entities

if TYPE_CHECKING:
    from schema.sandboxes import Sandbox


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
    async def sandbox(
        self, info: Info
    ) -> Annotated["Sandbox", strawberry.lazy("schema.sandboxes")]:
        """Load where it runs."""
        from schema.sandboxes import Sandbox  # noqa: PLC0415 - the two types name each other

        return Sandbox.of(await resolve_sandboxes.load(info.context, self.entity.sandbox_id))
