"""Floods of standard output, to one reader and to ten, and the memory that they take."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from app.demo import Client
from bench.graphql import events, opened
from bench.processes import resident

BLOCK = 65_536
MIB = 1024 * 1024
LOOKED_AT = 16
"""Memory is looked at once in so many events."""
FLOOD = """
import os
{before}
block = b"x" * {letters} + b"\\n"
for _ in range({blocks}):
    os.write(1, block)
"""
FOLLOW = """
subscription ($id: ID!) { executionEvents(executionId: $id) {
  __typename executionId seq
  ... on OutputChunk { text } ... on OutputGap { droppedBytes } } }
"""
ANSWER = """
mutation ($input: ProvideInputInput!) { provideInput(input: $input) { execution { id } } }
"""


@dataclass(slots=True)
class Reader:
    """What one reader has had."""

    received: int = 0
    dropped: int = 0
    asked: int = 0
    """The number of the question that the code asked."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Count an event; all text is ASCII."""
        self.received += len(event.get("text") or "")
        self.dropped += int(event.get("droppedBytes") or 0)
        if event["__typename"] == "InputRequested":
            self.asked = int(event["seq"])


def flood_code(size: int, before: str = "") -> str:
    """Return code that writes so many bytes to standard output, rounded down to whole blocks."""
    return FLOOD.format(before=before, letters=BLOCK - 1, blocks=size // BLOCK)


async def one_reader(
    client: Client, sandbox: str, size: int, processes: Mapping[str, int | None]
) -> dict[str, object]:
    """Stream to one reader; return what came, how fast, and how much the processes grew."""
    before = {name: resident(pid) for name, pid in processes.items()}
    most = dict(before)
    reader = Reader()
    count = 0
    began = time.perf_counter()
    async for event in events(client, sandbox, flood_code(size)):
        reader.take(event)
        count += 1
        if count % LOOKED_AT == 0:
            most = {name: max(most[name], resident(pid)) for name, pid in processes.items()}
    seconds = time.perf_counter() - began
    found: dict[str, object] = {
        "MB": round(reader.received / 1e6, 1),
        "dropped bytes": reader.dropped,
        "MB/s": round(reader.received / 1e6 / seconds, 1),
    }
    for name, pid in processes.items():
        known = pid is not None
        found[f"{name} memory before MiB"] = round(before[name] / MIB, 1) if known else None
        growth = most[name] - before[name]
        found[f"{name} memory growth MiB"] = round(growth / MIB, 1) if known else None
    return found


async def many_readers(
    url: str, token: str, sandbox: str, size: int, readers: int
) -> dict[str, object]:
    """Stream one execution to many readers, each on a websocket of its own.

    The code waits for an answer, which is given when all readers are there.
    """
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(opened(url, token)) for _ in range(readers)]
        asker = await stack.enter_async_context(opened(url, token))
        there = asyncio.Barrier(readers + 1)
        begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        had = [Reader() for _ in clients]
        async with asyncio.TaskGroup() as tasks:
            code = flood_code(size, before="input()")
            tasks.create_task(_read(events(clients[0], sandbox, code), had[0], there, begun))
            execution = await begun
            for client, reader in zip(clients[1:], had[1:], strict=True):
                tasks.create_task(_read(_followed(client, execution), reader, there))
            await there.wait()
            began = time.perf_counter()
            answer = {"executionId": execution, "inputSeq": had[0].asked, "text": ""}
            await asker.result(ANSWER, {"input": answer})
        seconds = time.perf_counter() - began
    received = sum(reader.received for reader in had)
    return {
        "readers": readers,
        "MB to each": round(size // BLOCK * BLOCK / 1e6, 1),
        "dropped bytes, all together": sum(reader.dropped for reader in had),
        "MB/s to each": round(received / readers / 1e6 / seconds, 1),
        "MB/s, all together": round(received / 1e6 / seconds, 1),
    }


async def _followed(client: Client, execution: str) -> AsyncGenerator[dict[str, Any], None]:
    async for data in client.results(FOLLOW, {"id": execution}):
        yield data["executionEvents"]


async def _read(
    source: AsyncGenerator[dict[str, Any], None],
    reader: Reader,
    there: asyncio.Barrier,
    begun: asyncio.Future[str] | None = None,
) -> None:
    async for event in source:
        if begun is not None and not begun.done():
            begun.set_result(event["executionId"])
        reader.take(event)
        if event["__typename"] == "InputRequested":
            await there.wait()
