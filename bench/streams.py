"""Cold starts and floods of small prints, through the API."""

import time

from app.demo import Client
from bench.graphql import CREATE, DELETE, events, opened
from bench.turns import CODE


async def cold_start(url: str, token: str) -> tuple[float, float]:
    """Return the seconds from createSandbox to RUNNING, and to the first output."""
    async with opened(url, token) as client:
        began = time.perf_counter()
        made = await client.result(CREATE)
        running = time.perf_counter() - began
        sandbox = made["createSandbox"]["sandbox"]["id"]
        try:
            first = 0.0
            async for event in events(client, sandbox, CODE):
                if not first and event["__typename"] == "OutputChunk":
                    first = time.perf_counter() - began
        finally:
            await client.result(DELETE, {"id": sandbox})
        return running, first


async def flushed(client: Client, sandbox: str, prints: int, runs: int) -> dict[str, object]:
    """Stream many flushed prints; return whether all came in order, and when the first did.

    Warm, as the other subjects: a sandbox's first code may have to wait for its interpreter.
    """
    await _flushed(client, sandbox, 1)
    each = [await _flushed(client, sandbox, prints) for _ in range(runs)]
    firsts = sorted(first for first, _, _ in each)
    return {
        "runs": runs,
        "all in order": all(right for _, _, right in each),
        "first ms p50": round(firsts[runs // 2] * 1000, 2),
        "first ms at most": round(firsts[-1] * 1000, 2),
        "all ms p50": round(sorted(end for _, end, _ in each)[runs // 2] * 1000, 1),
    }


async def _flushed(client: Client, sandbox: str, prints: int) -> tuple[float, float, bool]:
    """Return the seconds to the first and the last, and whether all came in order."""
    code = f"for i in range({prints}): print(i, flush=True)"
    began = time.perf_counter()
    first = 0.0
    text = ""
    async for event in events(client, sandbox, code):
        if event["__typename"] == "OutputChunk":
            first = first or time.perf_counter() - began
            text += event["text"]
    right = text == "".join(f"{number}\n" for number in range(prints))
    return first, time.perf_counter() - began, right
