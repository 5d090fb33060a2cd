"""The rate of each user: over HTTP, websockets and streams, and in a real Redis for all."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from pyrate_limiter.clocks import WallClock
from structlog.testing import capture_logs

from app.factory import create_app
from app.rates import open_rates
from app.settings import Settings, SettingsError
from services.entities import UserId
from services.errors import RateLimitedError
from services.rates import RateLimiter
from tests.support.redis_server import RedisServer, redis_server
from tests.support.serving import serving, socket
from tests.support.stub_services import Stubs, token

ASK = {"query": "{ viewer { id } }"}
RESPONSE = "application/graphql-response+json"
STREAMS = {"sse": "text/event-stream", "multipart": "multipart/mixed;subscriptionSpec=1.0"}


def slow(redis_url: str = "", burst: int = 2) -> Settings:
    """Let users ask so often at once, and then once a second."""
    return Settings(
        _env_file=None,
        operations_per_second=1,
        operations_burst=burst,
        rate_limit_redis_url=SecretStr(redis_url),
    )


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a Redis that answers late, as it does on a busy machine."""
    monkeypatch.setattr("app.rates.REDIS_SECONDS", 20.0)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Serve users who may ask twice, and then once a second."""
    async with serving(create_app(slow(), Stubs().open)) as address:
        yield address


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis that all tests here may use, and none may end."""
    with redis_server() as running:
        yield running


def bearer() -> str:
    """Name a new user."""
    return f"Bearer {token(uuid4())}"


@pytest.mark.parametrize("accept", ["application/json", RESPONSE, *STREAMS.values()])
async def test_one_too_many_over_http(url: str, accept: str) -> None:
    """429 with `Retry-After`, before the body is read; another user feels nothing."""
    headers = {"Authorization": bearer(), "Accept": accept}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        passed = [await client.post("/graphql", json=ASK) for _ in range(2)]
        refused = await client.post("/graphql", content=b"no JSON")
        another = await client.post("/graphql", json=ASK, headers={"Authorization": bearer()})
    [error] = refused.json()["errors"]

    assert [answer.status_code for answer in [*passed, another]] == [200] * 3
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert 0 < error["extensions"]["retryAfterSeconds"] <= 1
    assert "data" not in refused.json()


async def test_one_too_many_over_a_websocket(url: str) -> None:
    """The operation alone is refused; the socket stays, and goes on in time."""
    authorization = bearer()
    async with socket(url, params={"Authorization": authorization}) as client:
        await client.receive()
        answers = []
        for name in ("1", "2", "3"):
            await client.subscribe(ASK["query"], name=name)
            answers.append((await client.until_end(name))[0])
        async with httpx.AsyncClient(base_url=url) as http:
            headers = {"Authorization": authorization}
            shared = await http.post("/graphql", json=ASK, headers=headers)
        told = answers[2]["payload"][0]["extensions"]
        await asyncio.sleep(told["retryAfterSeconds"])
        await client.subscribe(ASK["query"], name="3")
        later = await client.until_end("3")

    assert [answer["type"] for answer in answers] == ["next", "next", "error"]
    assert told["code"] == "RATE_LIMITED"
    assert shared.status_code == 429
    assert [message["type"] for message in later] == ["next", "complete"]


async def test_who_is_nobody_is_not_counted(url: str) -> None:
    """Without a good token there is no operation: 401 as often as it is tried."""
    async with httpx.AsyncClient(base_url=url) as client:
        answers = [await client.post("/graphql", json=ASK) for _ in range(5)]

    assert {answer.status_code for answer in answers} == {401}


async def passed(limiter: RateLimiter, user: UserId, attempts: int) -> int:
    """Return how many of so many operations at once pass."""
    results = await asyncio.gather(
        *(limiter.take(user) for _ in range(attempts)), return_exceptions=True
    )
    assert all(isinstance(each, RateLimitedError | None) for each in results)
    return results.count(None)


async def test_processes_share_a_bucket_in_redis(redis: RedisServer) -> None:
    """Two that are flooded at once let through what one would, and the key expires."""
    settings = slow(redis.url, burst=30)
    user, another = UserId(uuid4()), UserId(uuid4())
    async with open_rates(settings) as one, open_rates(settings) as two:
        counts = await asyncio.gather(passed(one, user, 50), passed(two, user, 50))
        with pytest.raises(RateLimitedError) as refused:
            await one.take(user)
        free = await passed(two, another, 1)
        assert one._redis is not None
        expires = await one._redis.pttl(f"sandbox-api:rate:{user}")

    assert 30 <= sum(counts) <= 32
    assert refused.value.extensions["retryAfterSeconds"]
    assert free == 1
    assert 0 < expires <= 60_000


async def test_servers_share_a_bucket_in_redis(redis: RedisServer) -> None:
    """A user who goes from one to another is the same user."""
    settings = slow(redis.url)
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(serving(create_app(settings, Stubs().open)))
            for _ in range(2)
        ]
        client = await stack.enter_async_context(httpx.AsyncClient())
        headers = {"Authorization": bearer()}
        answers = [
            await client.post(f"{url}/graphql", json=ASK, headers=headers)
            for url in (urls[0], urls[1], urls[0], urls[1])
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


class Stopped(WallClock):
    """A clock that stands still, so that a bucket does not run empty while it is looked at."""

    def __init__(self) -> None:
        """Stop it."""
        self._now = super().now()

    def now(self) -> int:
        """Return when it was stopped, in milliseconds."""
        return self._now


async def test_without_redis_each_process_counts_by_itself() -> None:
    """Nobody is refused for it, and nobody passes without end; it is said once, and mended."""
    with redis_server() as server:
        settings = slow(server.url)
        async with open_rates(settings) as limiter:
            limiter._pause_seconds = 0.0
            limiter._clock = Stopped()
            user = UserId(uuid4())
            await limiter.take(user)
            server.stop()
            with capture_logs() as logs:
                alone = [await passed(limiter, user, 1) for _ in range(4)]
                server.start()
                again = await passed(limiter, user, 3)

    assert alone == [1, 1, 0, 0]
    assert again == 2
    assert [line["log_level"] for line in logs] == ["error", "warning"]
    assert server.url not in str(logs)


async def test_a_redis_that_hangs_is_waited_for_once(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it has not answered it is left alone for some seconds."""
    monkeypatch.setattr("app.rates.REDIS_SECONDS", 0.1)
    settings = slow(redis.url)
    asked = 0
    async with open_rates(settings) as limiter:
        user = UserId(uuid4())
        await limiter.take(user)
        assert redis.process is not None
        redis.process.send_signal(signal.SIGSTOP)
        try:
            first = await passed(limiter, user, 1)
            check = limiter._lose

            def count(error: Exception) -> None:
                nonlocal asked
                asked += 1
                check(error)

            monkeypatch.setattr(limiter, "_lose", count)
            rest = [await passed(limiter, user, 1) for _ in range(5)]
        finally:
            redis.process.send_signal(signal.SIGCONT)

    assert (first, rest, asked) == (1, [1, 0, 0, 0, 0], 0)


async def test_an_address_that_is_none() -> None:
    """It is named at the start, without what stands in it."""
    settings = slow("http://user:secret@host")
    with pytest.raises(SettingsError, match="RATE_LIMIT_REDIS_URL") as caught:
        async with open_rates(settings):
            pytest.fail("it was opened")

    assert "secret" not in str(caught.value)
