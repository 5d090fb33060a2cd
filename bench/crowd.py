"""Several sandboxes that execute at once."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.figures import FIRST_OUTPUT, Figure, figure
from bench.graphql import executing, opened, sandbox_of
from bench.turns import WARM_UPS, Once


async def at_once(url: str, token: str, crowds: Sequence[int], rounds: int) -> list[Figure]:
    """Return the first outputs of sandboxes that begin together, for each size of crowd.

    Each sandbox has a websocket of its own; the next round begins when all have ended.
    """
    async with AsyncExitStack() as stack:
        everyone: list[Once] = []
        for _ in range(max(crowds)):
            client = await stack.enter_async_context(opened(url, token))
            sandbox = await stack.enter_async_context(sandbox_of(client))
            everyone.append(executing(client, sandbox))
        return [await _together(everyone[:size], rounds) for size in crowds]


async def _together(crowd: Sequence[Once], rounds: int) -> Figure:
    firsts: list[float] = []
    for turn in range(WARM_UPS + rounds):
        times = await asyncio.gather(*(once() for once in crowd))
        if turn >= WARM_UPS:
            firsts += [first for first, _ in times]
    return figure(f"{len(crowd)} sandboxes at once{FIRST_OUTPUT}", firsts)
