"""Waiting for what another process does: polls that grow apart, cut short by nudges."""

import asyncio

from services.errors import ServiceUnavailableError
from services.nudges import Listener

SHORTEST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5
GROWTH = 1.6


class Patience:
    """Pauses between polls, `seconds` in all."""

    def __init__(self, seconds: float, listener: Listener) -> None:
        self._end = asyncio.get_running_loop().time() + seconds
        self._pause = SHORTEST_PAUSE_SECONDS
        self._listener = listener

    async def wait(self, what: str) -> None:
        """Pause once. Raises `ServiceUnavailableError` with `what` once patience is over."""
        left = self._end - asyncio.get_running_loop().time()
        if left <= 0:
            raise ServiceUnavailableError(f"{what}: try again.")
        await self._listener.wait(min(self._pause, left))
        self._pause = min(self._pause * GROWTH, LONGEST_PAUSE_SECONDS)
