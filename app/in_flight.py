"""How many bytes each user has under way in this process: what comes, and what is not taken."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from services.entities import UserId
from services.errors import QuotaExceededError
from services.limits import KIB, MIB

MOST_BYTES = 256 * MIB
SMALL_BYTES = 64 * KIB
"""What is no larger always goes, so that who is over the bound may still ask and interrupt."""

type Take = Callable[[int], None]


class InFlight:
    """Counts; what one request or answer took is given back at its end."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Let each user have so many bytes at once, or one thing that is larger."""
        self._most = most_bytes
        self._held: dict[UserId, int] = {}

    def hold(self, user: UserId) -> AbstractContextManager[Take]:
        """Yield what takes bytes of this user's; it raises `QuotaExceededError`."""
        return _Hold(self._held, user, self._most)


class _Hold:
    """A class, for it is on the way of every event, and a generator takes twice as long."""

    __slots__ = ("_held", "_most", "_taken", "_user")

    def __init__(self, held: dict[UserId, int], user: UserId, most_bytes: int) -> None:
        self._held = held
        self._user = user
        self._most = most_bytes
        self._taken = 0

    def __enter__(self) -> Take:
        return self._take

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._taken:
            return
        left = self._held.pop(self._user) - self._taken
        if left:
            self._held[self._user] = left

    def _take(self, size: int) -> None:
        if not size:
            return
        held = self._held.get(self._user, 0)
        others, own = held - self._taken, self._taken + size
        if own > SMALL_BYTES and others and others + own > self._most:
            raise QuotaExceededError(
                f"A user has {self._most // MIB} MiB under way at once: send less at once, "
                "and take the answers that you have asked for.",
                limit="bytesUnderWay",
            )
        self._held[self._user] = held + size
        self._taken = own
