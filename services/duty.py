"""Work that is done again and again, whatever one round of it came to."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog

from services.errors import ServiceError

_log = structlog.get_logger(__name__)


async def repeat(duty: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do the duty at once and then every `seconds`, until cancelled.

    A round that fails is logged, and the next one comes all the same.
    """
    while True:
        with logged("duty failed", duty=duty.__qualname__):
            await duty()
        await asyncio.sleep(seconds)


@contextmanager
def logged(what: str, **where: str) -> Iterator[None]:
    """Log what is raised inside and go on: nothing must keep what comes after from its turn."""
    try:
        yield
    except ServiceError as error:
        _log.warning(what, **where, reason=error.message)
    except Exception:  # noqa: BLE001 # whatever it was
        _log.exception(what, **where)
