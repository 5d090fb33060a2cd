"""Attacks on a server in a process of its own, and what all of them have to leave unharmed."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import httpx

from tests.support.faults import eventually
from tests.support.inspected import PATH
from tests.support.stack import Server, start_process
from tests.support.stub_services import token

Json = dict[str, Any]
ASK = {"query": "{ viewer { id } }"}
MIB = 1024 * 1024
PATIENT_SECONDS = 10.0
"""For one simple query of somebody else's, on a machine that others use too."""
ALLOWED_BYTES = 48 * MIB
"""What a process may have kept: its allocator's free lists, caches of documents and classes."""
PAUSE_SECONDS = 0.02
Record = Callable[[str, object], None]


@contextmanager
def target(log: Path, **variables: str) -> Iterator[Server]:
    """Have services that answer from memory served, as `make run` serves the product's."""
    with inspected("stubs", log, os.environ | variables) as server:
        yield server


@contextmanager
def inspected(application: str, log: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Serve one of the applications that tell what they hold; nothing may end it, or be told."""
    name = f"tests.support.inspected:{application}"
    server = start_process(name, log, environment, "--factory")
    try:
        yield server
    finally:
        ended = server.process.poll()
        server.stop()
    assert ended is None
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]


def bearer() -> str:
    """Name a new user of a target's."""
    return f"Bearer {token(uuid4())}"


async def inspect(server: Server) -> Json:
    """Ask what the process holds."""
    async with httpx.AsyncClient(timeout=60) as client:
        found: Json = (await client.get(f"{server.url}{PATH}")).json()
    return found


@asynccontextmanager
async def unharmed(
    server: Server, record: Record, authorization: str | None = None
) -> AsyncIterator[None]:
    """Attack within: the process stays up, serves another user, and gives back what it took.

    That user asks all the while, one query after the other. How long each took is recorded,
    and is no more than `PATIENT_SECONDS`, which is there to tell slow from not at all.
    """
    headers = {"Authorization": authorization or bearer()}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=PATIENT_SECONDS
    ) as client:
        usual = [await _asked(client) for _ in range(5)]
        before = await inspect(server)
        times: list[float] = []
        asking = asyncio.create_task(_ask_on(client, times))
        try:
            yield
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        # One more, from beginning to end: those before may all have begun before the attack.
        times.append(await _asked(client))
    if not asking.cancelled():
        asking.result()
    record("another user's queries", len(times))
    record("usual, ms, median", round(median(usual), 1))
    record("under attack, ms, median", round(median(times), 1))
    record("under attack, ms, longest", round(max(times), 1))
    await returned(server, before["rss"], record)


async def returned(server: Server, before: int, record: Record) -> None:
    """Wait until the process is at rest, with no more memory than it had, nearly."""
    left = await eventually(lambda: inspect(server), lambda seen: _is_at_rest(seen, before))
    record("memory kept, MiB", round((left["rss"] - before) / MIB, 1))


def _is_at_rest(seen: Json, before: int) -> bool:
    held = (seen["places"], seen["under_way"], seen["checked_out"], seen.get("streams", 0))
    return not any(held) and bool(seen["rss"] < before + ALLOWED_BYTES)


async def _ask_on(client: httpx.AsyncClient, times: list[float]) -> None:
    while True:
        times.append(await _asked(client))
        # Below the user's own rate.
        await asyncio.sleep(PAUSE_SECONDS)


async def _asked(client: httpx.AsyncClient) -> float:
    """Ask once; return the milliseconds until the answer."""
    began = time.perf_counter()
    answer = await client.post("/graphql", json=ASK)
    assert answer.json()["data"]["viewer"]["id"], answer.text
    return (time.perf_counter() - began) * 1000
