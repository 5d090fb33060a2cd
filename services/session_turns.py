"""How many sessions one operation asks at once, whichever of its fields ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from services.errors import ServiceUnavailableError

AT_ONCE: Final = 8
WAIT_SECONDS: Final = 30.0
"""How long a question waits for its turn: an operation ends even where no session answers."""


class SessionTurns:
    """Gives turns, first come, first served. Who holds one waits for no other."""

    def __init__(self, at_once: int = AT_ONCE, wait_seconds: float = WAIT_SECONDS) -> None:
        self._semaphore = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn. Raises `ServiceUnavailableError` where none comes."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._semaphore.acquire()
        except TimeoutError as error:
            raise ServiceUnavailableError(
                "The sandboxes asked before this one did not answer: try again."
            ) from error
        try:
            yield
        finally:
            self._semaphore.release()

    async def each[K, S, T](
        self, asked: Mapping[K, S], ask: Callable[[S], Awaitable[T]]
    ) -> dict[K, T | BaseException]:
        """Ask them all, each in its turn; what was raised of one stands in its place."""

        async def one(subject: S) -> T:
            async with self.take():
                return await ask(subject)

        found = await asyncio.gather(*map(one, asked.values()), return_exceptions=True)
        return dict(zip(asked, found, strict=True))
