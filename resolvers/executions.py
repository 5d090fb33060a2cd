"""Fields that run code and read executions."""

from resolvers.context import Context, read_budget
from resolvers.streams import OpenedStream
from services.entities import (
    CodeToRun,
    Execution,
    ExecutionOutline,
    ExecutionUpdate,
    Page,
    Sandbox,
)


async def get(context: Context, execution_id: str) -> Execution | None:
    """Resolve `Query.execution`."""
    return await context.services.executions.get(context.viewer, execution_id)


async def page(
    context: Context, sandbox: Sandbox, first: int, after: str | None, *, large: bool
) -> Page[ExecutionOutline]:
    """Resolve the items of `Sandbox.executions`, whole where anything large is asked for."""
    service = context.services.executions
    if large:
        return await service.page(context.viewer, sandbox.id, first, after, read_budget.get())
    return await service.outlines(context.viewer, sandbox.id, first, after)


async def count(context: Context, sandbox: Sandbox) -> int:
    """Resolve `ExecutionConnection.totalCount`."""
    return await context.services.executions.count(context.viewer, sandbox.id)


async def run(context: Context, code: CodeToRun) -> Execution:
    """Resolve `Mutation.executeCode`."""
    return await context.services.executions.run(context.viewer, code)


async def stream(context: Context, code: CodeToRun) -> OpenedStream[ExecutionUpdate]:
    """Resolve `Subscription.executeCode`."""
    return await OpenedStream.open(context.services.executions.stream(context.viewer, code))


async def follow(context: Context, execution_id: str, after: int) -> OpenedStream[ExecutionUpdate]:
    """Resolve `Subscription.executionEvents`."""
    source = context.services.executions.follow(context.viewer, execution_id, after)
    return await OpenedStream.open(source)


async def interrupt(context: Context, execution_id: str) -> Execution:
    """Resolve `Mutation.interruptExecution`."""
    return await context.services.executions.interrupt(context.viewer, execution_id)


async def provide_input(
    context: Context, execution_id: str, input_seq: int, text: str
) -> Execution:
    """Resolve `Mutation.provideInput`."""
    return await context.services.executions.provide_input(
        context.viewer, execution_id, input_seq, text
    )
