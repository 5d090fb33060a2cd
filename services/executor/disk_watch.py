"""Holds the disk limit where no filesystem does it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.executor import verdicts
from services.executor.storage import SessionStorage
from services.executor.verdicts import Verdict

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
DISK_FULL = "its files are over the disk limit: delete some"


async def watch_disk(
    storage: SessionStorage,
    end_all: Callable[[Verdict], Awaitable[None]],
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """End code that goes over a limit which the filesystem itself does not hold."""
    limits = storage.limits
    while not storage.limited:
        await asyncio.sleep(look_seconds)
        try:
            used = await asyncio.to_thread(storage.usage)
            if used.bytes > limits.disk_bytes or used.files > limits.disk_files:
                logger.warning("session %s is over its disk limit", storage.session_id)
                await end_all(verdicts.lost(DISK_FULL, name="DiskFull"))
        except Exception:
            # Docker may be away for a while; the limit must hold after that too.
            logger.exception("session %s: the disk limit was not watched", storage.session_id)
