"""Cold starts, floods and floods of small prints, through the API."""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from app.demo import Client

RUN = """
subscription ($input: ExecuteCodeInput!) { executeCode(input: $input) {
  __typename seq ... on OutputChunk { text } ... on OutputGap { droppedBytes } } }
"""
CREATE = """
mutation { createSandbox(input: {name: "bench", start: true}) { sandbox { id status } } }
"""
DELETE = """
mutation ($id: ID!) { deleteSandbox(input: {sandboxId: $id}) { deletedSandboxId } }
"""
MIB = 1024 * 1024


async def cold_start(url: str, token: str) -> tuple[float, float]:
    """Return the seconds from createSandbox to RUNNING, and to the first output."""
    async with AsyncExitStack() as stack:
        client = await Client.open(stack, url, token)
        began = time.perf_counter()
        made = await client.result(CREATE)
        running = time.perf_counter() - began
        sandbox = made["createSandbox"]["sandbox"]["id"]
        try:
            first = 0.0
            async for event in _events(client, sandbox, 'print("hi")'):
                if not first and event["__typename"] == "OutputChunk":
                    first = time.perf_counter() - began
        finally:
            await client.result(DELETE, {"id": sandbox})
        return running, first


async def _events(client: Client, sandbox: str, code: str) -> Any:  # noqa: ANN401
    variables: dict[str, object] = {
        "input": {"sandboxId": sandbox, "code": code, "timeoutSeconds": 120}
    }
    async for data in client.results(RUN, variables):
        yield data["executeCode"]


async def flood(client: Client, sandbox: str, code: str, process: int) -> dict[str, float]:
    """Stream standard output to one reader; return what came, how fast, and the API's growth."""
    before = _resident(process)
    most = before
    began = time.perf_counter()
    received = dropped = 0
    async for event in _events(client, sandbox, code):
        received += len(event.get("text") or "")
        dropped += event.get("droppedBytes") or 0
        most = max(most, _resident(process))
    seconds = time.perf_counter() - began
    return {
        "MB": round(received / 1e6, 1),
        "dropped bytes": dropped,
        "MB/s": round(received / 1e6 / seconds, 1),
        "API memory before MiB": round(before / MIB, 1),
        "API memory growth MiB": round((most - before) / MIB, 1),
    }


def _resident(process: int) -> int:
    fields = Path(f"/proc/{process}/statm").read_text().split()
    return int(fields[1]) * 4096


async def flushed(
    client: Client, sandbox: str, code: str, prints: int, runs: int
) -> dict[str, object]:
    """Stream many flushed prints; return whether all came in order, and when the first did."""
    each = [await _flushed(client, sandbox, code, prints) for _ in range(runs)]
    firsts = sorted(first for first, _, _ in each)
    return {
        "runs": runs,
        "all in order": all(right for _, _, right in each),
        "first ms p50": round(firsts[runs // 2] * 1000, 2),
        "first ms at most": round(firsts[-1] * 1000, 2),
        "all ms p50": round(sorted(end for _, end, _ in each)[runs // 2] * 1000, 1),
    }


async def _flushed(
    client: Client, sandbox: str, code: str, prints: int
) -> tuple[float, float, bool]:
    """Return the seconds to the first and the last, and whether all came in order."""
    began = time.perf_counter()
    first = 0.0
    text = ""
    async for event in _events(client, sandbox, code):
        if event["__typename"] == "OutputChunk":
            first = first or time.perf_counter() - began
            text += event["text"]
    right = text == "".join(f"{number}\n" for number in range(prints))
    return first, time.perf_counter() - began, right
