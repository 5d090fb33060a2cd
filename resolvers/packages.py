"""Fields that list and install packages."""

from collections.abc import Sequence

from resolvers.context import Context
from resolvers.operation import operation
from resolvers.streams import OpenedStream
from services.entities import ExecutionUpdate, Installed, Package, PackagesToInstall, Sandbox


async def list_packages(sandbox: Sandbox) -> Sequence[Package]:
    """Resolve `Sandbox.packages`, of many sandboxes at once."""
    return await operation.get().packages.load(sandbox)


async def install(context: Context, packages: PackagesToInstall, *, large: int) -> Installed:
    """Resolve `Mutation.installPackages`."""
    budget = operation.get().budget.share(large)
    return await context.services.packages.install(context.viewer, packages, budget)


async def stream(context: Context, packages: PackagesToInstall) -> OpenedStream[ExecutionUpdate]:
    """Resolve `Subscription.installPackages`."""
    return await OpenedStream.open(context.services.packages.stream(context.viewer, packages))
