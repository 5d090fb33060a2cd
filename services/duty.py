"""Work that is done again and again, whatever one round of it came to."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.errors import ServiceError

_log = structlog.get_logger(__name__)


async def repeat(duty: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do the duty at once and then every `seconds`, until cancelled.

    A round that fails is logged, and the next one comes all the same.
    """
    while True:
        try:
            await duty()
        except ServiceError as error:
            _log.warning("duty failed", duty=duty.__qualname__, reason=error.message)
        except Exception:  # noqa: BLE001 # a fault in one round must not end all rounds
            _log.exception("duty failed", duty=duty.__qualname__)
        await asyncio.sleep(seconds)
