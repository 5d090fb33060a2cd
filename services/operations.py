"""Operations that outlive the request that asked for them, owned by the process."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Self, TypeVar

import structlog

from services.errors import ServiceUnavailableError

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Operations:
    """Runs each operation as a task of its own, so that no client's leaving cuts it short.

    Closing waits for those under way for `grace_seconds`, then cancels them; what a cut one
    left half-way is resolved by the reconciler from the operation's deadline.
    """

    def __init__(self, grace_seconds: float = 20.0) -> None:
        self._grace_seconds = grace_seconds
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def run(self, operation: Coroutine[object, object, T]) -> T:
        """Return the operation's result; being cancelled does not cancel it."""
        return await asyncio.shield(self.begin(operation))

    def begin(self, operation: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Start an operation that nobody needs to wait for; what it raises is logged."""
        if self._closed:
            operation.close()
            raise ServiceUnavailableError("The server is going down: try again.")
        # Begun at once: most have something to do before they wait for the first time.
        loop = asyncio.get_running_loop()
        task = asyncio.Task(operation, loop=loop, eager_start=True)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        # Asking for the exception also tells asyncio that somebody looked.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.info("operation failed", error=type(error).__name__)

    async def aclose(self) -> None:
        """Refuse new operations, wait for those under way, cancel what takes too long."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace_seconds)
        for task in (remaining := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
