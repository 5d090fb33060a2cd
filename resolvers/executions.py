"""Fields that run code and read executions.

`large` says how often the operation shows what is large of an execution; 0 is never.
"""

from resolvers.context import Context
from resolvers.loaders import PageWanted
from resolvers.operation import operation
from resolvers.streams import OpenedStream
from services.entities import (
    CodeToRun,
    Execution,
    ExecutionOutline,
    ExecutionUpdate,
    Page,
    Sandbox,
)
from services.errors import ServiceError


async def get(context: Context, execution_id: str, *, large: int) -> ExecutionOutline | None:
    """Resolve `Query.execution`, whole where anything large is asked for."""
    service, budget = context.services.executions, operation.get().budget.share(large)
    if large:
        return await service.get(context.viewer, execution_id, budget)
    return await service.outline(context.viewer, execution_id, budget)


async def page(
    sandbox: Sandbox, first: int, after: str | None, *, large: int
) -> Page[ExecutionOutline]:
    """Resolve the items of `Sandbox.executions`, of many sandboxes at once.

    They are whole where anything large is asked for.
    """
    wanted = PageWanted(first, after, large)
    found = await operation.get().pages.load((sandbox.id, wanted))
    if isinstance(found, ServiceError):
        raise found
    return found


async def count(sandbox: Sandbox) -> int:
    """Resolve `ExecutionConnection.totalCount`, of many sandboxes at once."""
    return await operation.get().counts.load(sandbox.id)


async def run(context: Context, code: CodeToRun, *, large: int) -> Execution:
    """Resolve `Mutation.executeCode`."""
    budget = operation.get().budget.share(large)
    return await context.services.executions.run(context.viewer, code, budget)


async def stream(context: Context, code: CodeToRun) -> OpenedStream[ExecutionUpdate]:
    """Resolve `Subscription.executeCode`."""
    return await OpenedStream.open(context.services.executions.stream(context.viewer, code))


async def follow(context: Context, execution_id: str, after: int) -> OpenedStream[ExecutionUpdate]:
    """Resolve `Subscription.executionEvents`."""
    source = context.services.executions.follow(context.viewer, execution_id, after)
    return await OpenedStream.open(source)


async def interrupt(context: Context, execution_id: str, *, large: int) -> Execution:
    """Resolve `Mutation.interruptExecution`."""
    budget = operation.get().budget.share(large)
    return await context.services.executions.interrupt(context.viewer, execution_id, budget)


async def provide_input(
    context: Context, execution_id: str, input_seq: int, text: str, *, large: int
) -> Execution:
    """Resolve `Mutation.provideInput`."""
    budget = operation.get().budget.share(large)
    return await context.services.executions.provide_input(
        context.viewer, execution_id, input_seq, text, budget
    )
