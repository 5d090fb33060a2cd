"""How many bytes each user has under way in this process: what comes, and what is not taken."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        self._held: Counter[UserId] = Counter()

    @contextmanager
    def hold(self, user: UserId) -> Iterator[Take]:
        """Yield what takes bytes of this user's; it raises `QuotaExceededError`."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            others, own = self._held[user] - taken, taken + size
            if own > SMALL_BYTES and others and others + own > self._most:
                raise QuotaExceededError(
                    f"A user has {self._most // MIB} MiB under way at once: send less at once, "
                    "and take the answers that you have asked for.",
                    limit="bytesUnderWay",
                )
            self._held[user] += size
            taken += size

        try:
            yield take
        finally:
            self._held[user] -= taken
            if not self._held[user]:
                del self._held[user]
