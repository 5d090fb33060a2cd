"""As many sandboxes as the default reservations promise for two cores and 24 GiB."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.support.api import Api
from tests.support.stack import Server, Stack
from tests.support.tokens import user_token

IDLE = 32
AT_ONCE = 10
STARTS_AT_ONCE = 4
CODE = "total = sum(i * i for i in range(500_000)); print(total)"
TOTAL = "41666541666750000\n"


@pytest.fixture
async def two(stack: Stack, server: Server) -> AsyncIterator[list[Api]]:
    """Two users, for one may run twenty."""
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(Api(server.url, user_token(stack))) for _ in range(2)
        ]


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_many_idle_and_ten_that_run(two: list[Api]) -> None:
    """32 sandboxes run side by side, and ten of them run code at once, each its own."""
    door = asyncio.Semaphore(STARTS_AT_ONCE)
    made: list[tuple[Api, str]] = []

    async def create(api: Api) -> None:
        async with door:
            made.append((api, await api.create()))

    try:
        await asyncio.gather(*(create(two[number % 2]) for number in range(IDLE)))
        runs = await asyncio.gather(*(api.run(sandbox, CODE) for api, sandbox in made[:AT_ONCE]))
        states = [await api.sandbox(sandbox) for api, sandbox in made]
    finally:
        await asyncio.gather(*(api.delete(sandbox) for api, sandbox in made))

    assert [run.stdout for run in runs] == [TOTAL] * AT_ONCE
    assert [state["status"] for state in states] == ["RUNNING"] * IDLE
