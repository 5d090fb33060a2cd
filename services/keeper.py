"""Keeps house for all API processes of an instance: whichever holds the lease."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from services.duty import logged
from services.leases import Lease

LEASE_NAME = "keeper"

_log = structlog.get_logger(__name__)

type Duty = Callable[[], Coroutine[object, object, None]]


class Keeper:
    """Runs the duties (recorder, reaper, reconciler) while it holds the lease.

    They are cancelled once the lease cannot be renewed any more; all of them may be cut
    short anywhere, and done twice.
    """

    def __init__(self, lease: Lease, duties: Sequence[Duty]) -> None:
        self._lease = lease
        self._duties = duties
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the duties and give the lease back; idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with logged("lease not given back", lease=LEASE_NAME):
            await self._lease.release()

    async def _run(self) -> None:
        while True:
            # Nobody looks at this task: were it to end, nothing would keep house in this process.
            with logged("lease not kept", lease=LEASE_NAME):
                if await self._lease.acquire():
                    _log.info("lease taken", lease=LEASE_NAME)
                    await self._hold()
                    _log.warning("lease lost", lease=LEASE_NAME)
            await asyncio.sleep(self._lease.renewal_seconds)

    async def _hold(self) -> None:
        """Do the duties until the lease is lost, or until one of them fails."""
        duties = asyncio.create_task(self._work())
        try:
            await self._renew(duties)
        finally:
            duties.cancel()
            [outcome] = await asyncio.gather(duties, return_exceptions=True)
            if isinstance(outcome, Exception):
                _log.error("duties failed", exc_info=outcome)

    async def _renew(self, duties: asyncio.Task[None]) -> None:
        now = asyncio.get_running_loop().time
        renewed = now()
        while now() - renewed < self._lease.seconds:
            await asyncio.wait([duties], timeout=self._lease.renewal_seconds)
            asked, held = now(), await self._lease.acquire()
            if duties.done() or held is False:
                return
            if held:
                renewed = asked

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            for duty in self._duties:
                group.create_task(duty())
