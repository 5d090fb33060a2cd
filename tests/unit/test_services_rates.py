"""The leaky bucket of each user, counted in this process."""

from uuid import uuid4

import pytest
from pyrate_limiter import AbstractClock

from services import rates
from services.entities import UserId
from services.errors import RateLimitedError
from services.rates import RateLimiter


class Clock(AbstractClock):
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        self.milliseconds = 1_000_000

    def now(self) -> int:
        """Return the time as it was set."""
        return self.milliseconds


def a_user() -> UserId:
    """Return a user nobody has heard of."""
    return UserId(uuid4())


async def passed(limiter: RateLimiter, user: UserId, attempts: int) -> int:
    """Return how many of so many operations at once pass."""
    done = 0
    for _ in range(attempts):
        try:
            await limiter.take(user)
            done += 1
        except RateLimitedError:
            continue
    return done


async def test_a_burst_passes_and_then_the_rate() -> None:
    """What is refused spends nothing, and the error says when the next one passes."""
    clock = Clock()
    limiter, user = RateLimiter(10, 20, clock=clock), a_user()
    first = await passed(limiter, user, 50)
    with pytest.raises(RateLimitedError) as refused:
        await limiter.take(user)
    clock.milliseconds += 99
    early = await passed(limiter, user, 1)
    clock.milliseconds += 1
    due = await passed(limiter, user, 2)
    clock.milliseconds += 60_000
    rested = await passed(limiter, user, 50)

    assert refused.value.extensions == {"retryAfterSeconds": 0.1}
    assert "0.1 s" in refused.value.message
    assert (first, early, due, rested) == (20, 0, 1, 20)


async def test_a_steady_user_is_never_refused() -> None:
    """A hundred operations a second leave the defaults' bucket as good as empty."""
    clock = Clock()
    limiter, user = RateLimiter(200, 400, clock=clock), a_user()
    for _ in range(3_000):
        clock.milliseconds += 10
        await limiter.take(user)

    assert await passed(limiter, user, 1_000) == 399


async def test_users_are_counted_apart() -> None:
    """One that floods takes nothing from another."""
    limiter, flooding, quiet = RateLimiter(1, 2, clock=Clock()), a_user(), a_user()

    assert await passed(limiter, flooding, 100) == 2
    assert await passed(limiter, quiet, 100) == 2


async def test_buckets_are_kept_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was heard of least lately is forgotten, not whoever came first."""
    monkeypatch.setattr(rates, "KEPT_USERS", 2)
    limiter, busy, idle, new = RateLimiter(1, 1, clock=Clock()), a_user(), a_user(), a_user()
    for user in (busy, idle, busy, new):
        await passed(limiter, user, 1)

    assert await passed(limiter, busy, 1) == 0
    assert await passed(limiter, idle, 1) == 1
