"""Word that something of a user's has changed, so that polls come early."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from services.entities import UserId

POLL_SECONDS = 1.0
QUIET_POLL_SECONDS = 30.0
"""Where other processes' changes are heard of."""

_EVERYBODY: Final = None


class Listener:
    """Waits for nudges since it last looked."""

    def __init__(self) -> None:
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Wake whoever waits, now or next."""
        self._nudged.set()

    async def wait(self, seconds: float) -> None:
        """Return at the first nudge since the last return, at the latest after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return
        finally:
            self._nudged.clear()


class Nudges:
    """Tells listeners in this process.

    Those in others hear of it where the database passes it on, or find out by their poll.
    """

    def __init__(self) -> None:
        self._listeners: defaultdict[UserId | None, set[Listener]] = defaultdict(set)
        self._complete = False

    @property
    def poll_seconds(self) -> float:
        """How often to look where nobody says a word."""
        return QUIET_POLL_SECONDS if self._complete else POLL_SECONDS

    def heard(self, owner_id: UUID) -> None:
        """Pass on what another process has changed."""
        self.changed(UserId(owner_id))

    def follow(self, *, complete: bool) -> None:
        """Begin to rely on word of all changes, or cease to; what was missed is looked for."""
        self._complete = complete
        for listener in [each for listeners in self._listeners.values() for each in listeners]:
            listener.nudge()

    def changed(self, owner_id: UserId) -> None:
        """Wake those who listen for this owner's sandboxes, and for everybody's."""
        for key in (owner_id, _EVERYBODY):
            for listener in self._listeners.get(key, ()):
                listener.nudge()

    @contextmanager
    def listen(self, owner_id: UserId | None = _EVERYBODY) -> Iterator[Listener]:
        """Hear of one owner's changes, or of everybody's."""
        listener = Listener()
        self._listeners[owner_id].add(listener)
        try:
            yield listener
        finally:
            self._listeners[owner_id].discard(listener)
            if not self._listeners[owner_id]:
                del self._listeners[owner_id]
