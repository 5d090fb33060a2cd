"""How often each user may ask: a leaky bucket a user, in this process or in Redis for all.

The generic cell rate algorithm, which keeps one number a user: `pyrate-limiter`'s.
"""

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from inspect import isawaitable

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

logger = logging.getLogger(__name__)

MakeStore = Callable[[UserId], StateStore]


class RateLimiter:
    """Lets each user do so much a second, and so much at once."""

    def __init__(
        self,
        per_second: int,
        burst: int,
        redis: Redis | None = None,
        clock: AbstractClock | None = None,
    ) -> None:
        """Count in Redis where one is given, else in this process."""
        self._rates = [Rate(per_second, SECOND_MILLISECONDS, burst=burst)]
        self._algorithm = GCRA()
        self._clock = clock
        self._local = _Stores(lambda _user: InMemoryStateStore())
        self._shared = _Stores(_in_redis(redis)) if redis is not None else None

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
        if self._shared is not None:
            try:
                return await self._check(self._shared.of(user))
            except (RedisError, OSError) as error:
                # Better each process by itself than nobody at all.
                logger.warning("rates are counted in this process alone: %s", error)
        return await self._check(self._local.of(user))

    async def _check(self, store: StateStore) -> Decision:
        clock = self._clock or store.default_clock
        now = clock.now()
        moment = await now if isawaitable(now) else now
        found = store.check(self._algorithm, self._rates, moment, 1)
        return await found if isawaitable(found) else found


class _Stores:
    """One a user, those heard of lately."""

    def __init__(self, make: MakeStore) -> None:
        self._make = make
        self._known: OrderedDict[UserId, StateStore] = OrderedDict()

    def of(self, user: UserId) -> StateStore:
        """Return a user's, the last of all to be forgotten now."""
        store = self._known.get(user)
        if store is None:
            store = self._known[user] = self._make(user)
            if len(self._known) > KEPT_USERS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(user)
        return store


def _in_redis(redis: Redis) -> MakeStore:
    return lambda user: RedisStateStore(redis, KEY.format(user))
