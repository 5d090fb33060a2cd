"""The users' buckets, in Redis where the operator names one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.settings import Settings, SettingsError
from services.rates import RateLimiter

REDIS_SECONDS = 0.5
"""Every operation waits for it: after so long its user is counted without."""
REDIS_CONNECTIONS = 16


@asynccontextmanager
async def open_rates(settings: Settings) -> AsyncIterator[RateLimiter]:
    """Open them; whether Redis answers shows at the first operation.

    Raises `SettingsError` for an address that is none.
    """
    per_second, burst = settings.operations_per_second, settings.operations_burst
    url = settings.rate_limit_redis_url.get_secret_value()
    if not url:
        yield RateLimiter(per_second, burst)
        return
    async with _redis(url) as redis:
        yield RateLimiter(per_second, burst, redis)


def _redis(url: str) -> Redis:
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=REDIS_CONNECTIONS,
            timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            socket_timeout=REDIS_SECONDS,
            # Once more, for a connection that was cut while nobody used it.
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError:
        raise SettingsError("RATE_LIMIT_REDIS_URL takes an address as `redis://host`") from None
    return Redis.from_pool(pool)
