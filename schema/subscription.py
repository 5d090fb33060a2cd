"""What can be followed."""

# mypy: disable-error-code="untyped-decorator"
# (Strawberry types its decorators as Any where they take arguments.)

# ruff: noqa: A002 - arguments bear the names that the contract gives them

from collections.abc import AsyncIterator

import strawberry

from resolvers import executions, packages, sandboxes
from resolvers.operation import operation
from schema import inputs
from schema.changes import SandboxChange
from schema.events import ExecutionEvent, event_of
from schema.info import Info
from services import entities


@strawberry.type
class Subscription:
    """The contract's `Subscription`."""

    @strawberry.subscription(
        description=(
            "Run code and follow it live. A second subscribe with the same `clientExecutionId`\n"
            "attaches to the execution instead of running the code again, from `after` on."
        )
    )
    async def execute_code(
        self, info: Info, input: inputs.ExecuteCodeInput
    ) -> AsyncIterator[ExecutionEvent]:
        """Run code and follow it."""
        return (await executions.stream(info.context, input.entity())).map(event_of)

    @strawberry.subscription(
        description=(
            "Follow an execution that exists, running or ended, from event `after` + 1 on."
        )
    )
    async def execution_events(
        self, info: Info, execution_id: strawberry.ID, after: int = 0
    ) -> AsyncIterator[ExecutionEvent]:
        """Follow an execution."""
        return (await executions.follow(info.context, execution_id, after)).map(event_of)

    @strawberry.subscription(description="Install packages and follow the installer's output live.")
    async def install_packages(
        self, info: Info, input: inputs.InstallPackagesInput
    ) -> AsyncIterator[ExecutionEvent]:
        """Install packages and follow the installer."""
        return (await packages.stream(info.context, input.entity())).map(event_of)

    @strawberry.subscription(
        description=(
            "The viewer's sandboxes as they change; all of them, or one. "
            "Begins with the present state; of changes in quick succession the latest wins."
        )
    )
    async def sandbox_changed(
        self, info: Info, sandbox_id: strawberry.ID | None = strawberry.UNSET
    ) -> AsyncIterator[SandboxChange]:
        """Follow sandboxes."""
        stream = await sandboxes.changes(info.context, inputs.given(sandbox_id))
        return stream.map(_shown)


def _shown(change: entities.SandboxChange) -> SandboxChange:
    operation.get().budget.renew()
    return SandboxChange.of(change)
