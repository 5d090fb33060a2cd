"""How often each user may ask: a leaky bucket a user, in this process or in Redis for all.

The generic cell rate algorithm, which keeps one number a user: `pyrate-limiter`'s.
"""

import math
import time
from collections import OrderedDict
from inspect import isawaitable

import structlog
from pyrate_limiter import GCRA, AbstractClock, Decision, InMemoryStateStore, Rate, RedisStateStore
from pyrate_limiter.abstracts.store import StateStore
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.entities import UserId
from services.errors import RateLimitedError

SECOND_MILLISECONDS = 1000
KEPT_USERS = 10_000
"""Whoever was heard of least lately is forgotten: their bucket has run empty long since."""
KEY = "sandbox-api:rate:{}"
PAUSE_SECONDS = 5.0
"""For so long Redis is not asked after it did not answer, so that nobody waits for it again."""

_log = structlog.get_logger(__name__)


class RateLimiter:
    """Lets each user do so much a second, and so much at once."""

    def __init__(
        self,
        per_second: int,
        burst: int,
        redis: Redis | None = None,
        *,
        clock: AbstractClock | None = None,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """Count in Redis where one is given, else in this process."""
        self._rates = [Rate(per_second, SECOND_MILLISECONDS, burst=burst)]
        self._algorithm = GCRA()
        self._redis = redis
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._local = _LocalStores()
        self._away_until: float | None = None

    async def take(self, user: UserId) -> None:
        """Count one operation. Raises `RateLimitedError`."""
        decision = await self._decide(user)
        if decision.allowed:
            return
        milliseconds = decision.retry_after_ms or SECOND_MILLISECONDS
        seconds = math.ceil(milliseconds) / SECOND_MILLISECONDS
        raise RateLimitedError(
            f"Too many operations in a short time: try again in {seconds:.3g} s.",
            retryAfterSeconds=seconds,
        )

    async def _decide(self, user: UserId) -> Decision:
        if self._redis is not None and time.monotonic() >= (self._away_until or 0.0):
            try:
                decision = await self._check(RedisStateStore(self._redis, KEY.format(user)))
            except (RedisError, OSError) as error:
                self._lose(error)
            else:
                self._find_again()
                return decision
        return await self._check(self._local.of(user))

    async def _check(self, store: StateStore) -> Decision:
        clock = self._clock or store.default_clock
        now = clock.now()
        moment = await now if isawaitable(now) else now
        found = store.check(self._algorithm, self._rates, moment, 1)
        return await found if isawaitable(found) else found

    def _lose(self, error: Exception) -> None:
        # Better each process by itself than nobody at all, or everybody without end.
        if self._away_until is None:
            _log.error(
                "rates_are_counted_in_this_process_alone",
                error=type(error).__name__,
                remedy="see to the Redis of RATE_LIMIT_REDIS_URL",
            )
        self._away_until = time.monotonic() + self._pause_seconds

    def _find_again(self) -> None:
        if self._away_until is not None:
            self._away_until = None
            _log.warning("rates_are_counted_in_redis_again")


class _LocalStores:
    """One a user, those heard of lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[UserId, StateStore] = OrderedDict()

    def of(self, user: UserId) -> StateStore:
        """Return a user's, the last of all to be forgotten now."""
        store = self._known.get(user)
        if store is None:
            store = self._known[user] = InMemoryStateStore()
            if len(self._known) > KEPT_USERS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(user)
        return store
