"""Strawberry's hooks around operations and events: those alone that an extension has."""

from contextlib import nullcontext
from functools import cache
from typing import Any, Final

from strawberry.extensions import SchemaExtension
from strawberry.extensions.context import (
    ExecutingContextManager,
    OperationContextManager,
    StreamResultContextManager,
)
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.types import ExecutionContext

_NOTHING: Final[Any] = nullcontext()
_PASSED: Final = ("on_operation", "on_execute", "on_stream_result", "get_results")


class Hooks(SchemaExtensionsRunner):
    """Goes around what has no hook: else each event looks for some, and enters two contexts."""

    def __init__(
        self, execution_context: ExecutionContext, extensions: list[SchemaExtension]
    ) -> None:
        """Find out what these extensions have."""
        super().__init__(execution_context, extensions)
        self._there = _hooks_of(tuple(map(type, extensions)))

    def operation(self) -> OperationContextManager:
        """Surround an operation."""
        return super().operation() if "on_operation" in self._there else _NOTHING

    def executing(self) -> ExecutingContextManager:
        """Surround an execution."""
        return super().executing() if "on_execute" in self._there else _NOTHING

    def on_stream_result(self, result: Any) -> StreamResultContextManager:  # noqa: ANN401 - any of Strawberry's results
        """Surround one event's way out."""
        return super().on_stream_result(result) if "on_stream_result" in self._there else _NOTHING

    async def get_extensions_results(self, ctx: ExecutionContext) -> dict[str, Any]:
        """Return what extensions add to an answer."""
        if "get_results" in self._there:
            return await super().get_extensions_results(ctx)
        return dict(ctx.extensions_results)


@cache
def _hooks_of(extensions: tuple[type[SchemaExtension], ...]) -> frozenset[str]:
    return frozenset(
        hook
        for hook in _PASSED
        for extension in extensions
        if getattr(extension, hook) is not getattr(SchemaExtension, hook)
    )
