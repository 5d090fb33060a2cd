"""Writing how an operation ended, through an outage of the database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from services.errors import ServiceUnavailableError

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0


async def persist[T](write: Callable[[], Awaitable[T]], until: datetime | None) -> T:
    """Return what `write` returns, trying again while the database is away.

    After `until` (an operation's deadline: then somebody else may have taken it over) the
    last `ServiceUnavailableError` is raised. `write` has to be safe to repeat.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await write()
        except ServiceUnavailableError:
            if until is None or datetime.now(UTC) >= until:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
