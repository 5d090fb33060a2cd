"""What one user asks of the database in turn, so that nobody's flood takes others' connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from services.errors import QuotaExceededError

AT_ONCE = 3
"""Of one user, in one process: less than half of the pool of connections."""
MOST_WAITING = 200


class Turns:
    """So many of a user's at once; so many more may wait, first come, first served."""

    def __init__(self, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        """Begin without anybody."""
        self._at_once = at_once
        self._most = at_once + most_waiting
        self._users: dict[UUID, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def take(self, user: UUID) -> AsyncIterator[None]:
        """Wait for a turn of this user's. Raises `QuotaExceededError` where too many wait."""
        semaphore, there = self._users.get(user) or (asyncio.Semaphore(self._at_once), 0)
        if there >= self._most:
            raise QuotaExceededError(
                f"{there} executions are being submitted: wait for one.", limit="submissions"
            )
        self._users[user] = (semaphore, there + 1)
        try:
            async with semaphore:
                yield
        finally:
            semaphore, there = self._users.pop(user)
            if there > 1:
                self._users[user] = (semaphore, there - 1)
