"""Many who follow an execution and leave: nothing of them stays, and the code runs on."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.api import Api, Live
from tests.support.attacks import MIB, Record, inspect, inspected
from tests.support.faults import eventually
from tests.support.serving import Socket, socket
from tests.support.stack import Server, Stack

FEW, MANY = 100, 1000
AT_ONCE = 10
ALLOWED_BYTES = 16 * MIB
FOLLOW = "subscription ($id: ID!) { executionEvents(executionId: $id) { __typename seq } }"
SECONDS = 300
"""The most that code may run for."""
CODE = f"""
import time
for number in range({SECONDS} * 20):
    print(number, flush=True)
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def product(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The product as it is, in a process that tells what it holds."""
    log = tmp_path_factory.mktemp("product") / "log"
    # As fast as they come: what is counted here is not how many.
    environment = stack.environment(OPERATIONS_PER_SECOND="10000", OPERATIONS_BURST="10000")
    with inspected("product", log, environment) as running:
        yield running


@dataclass
class Followed:
    """An execution that runs, and who may follow it."""

    server: Server
    user: Api
    id: str
    stayed: list[int]
    """Positions of what the one who stays has had."""

    @property
    def authorization(self) -> dict[str, str]:
        """Say who asks."""
        return {"Authorization": f"Bearer {self.user.token}"}

    async def begin(self, one: Socket, name: str) -> None:
        """Follow it as an operation of this connection."""
        await one.subscribe(FOLLOW, {"id": self.id}, name)


@pytest.fixture(scope="module")
async def followed(stack: Stack, product: Server) -> AsyncIterator[Followed]:
    """Code that prints for longer than any test here takes, followed by one who stays."""
    async with Api(product.url, stack.token()) as user:
        sandbox = await user.create()
        async with user.live(sandbox, CODE, timeoutSeconds=SECONDS) as live:
            first = await live.next()
            stayed = [first["seq"]]
            staying = asyncio.create_task(stay(live, stayed))
            yield Followed(product, user, first["executionId"], stayed)
            assert not staying.done()
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
        await user.delete(sandbox)


async def stay(live: Live, had: list[int]) -> None:
    """Take all that comes."""
    while True:
        had.append((await live.next())["seq"])


async def complete(followed: Followed, times: int) -> None:
    """Say `complete` after the first event, over one connection."""
    async with socket(followed.server.url, params=followed.authorization) as one:
        await one.receive()
        for number in range(times):
            await followed.begin(one, str(number))
            await event(one, str(number))
            await one.send({"id": str(number), "type": "complete"})


async def complete_at_once(followed: Followed, times: int) -> None:
    """Say `complete` before anything has come."""
    async with socket(followed.server.url, params=followed.authorization) as one:
        await one.receive()
        for number in range(times):
            await followed.begin(one, str(number))
            await one.send({"id": str(number), "type": "complete"})
        # Answered once all that came before it has been read.
        await one.subscribe("{ viewer { id } }", name="last")
        await event(one, "last")


async def cut(followed: Followed, times: int) -> None:
    """Cut the socket under it, as a browser does that ends, or a network."""
    for _ in range(times):
        async with socket(followed.server.url, params=followed.authorization) as one:
            await one.receive()
            await followed.begin(one, "1")
            await event(one, "1")
            one.connection.transport.abort()


async def close_stream(followed: Followed, times: int) -> None:
    """Close the connection of a stream of server-sent events."""
    headers = {**followed.authorization, "Accept": "text/event-stream"}
    body = {"query": FOLLOW, "variables": {"id": followed.id}}
    async with httpx.AsyncClient(base_url=followed.server.url, timeout=30) as client:
        for _ in range(times):
            async with client.stream("POST", "/graphql", json=body, headers=headers) as answer:
                assert answer.is_success
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        assert json.loads(line.removeprefix("data:"))["data"]
                        break


async def event(one: Socket, name: str) -> dict[str, Any]:
    """Wait for the first message of an operation, past those of others."""
    while True:
        message = await one.receive()
        if message.get("id") == name:
            assert message["type"] == "next", message
            return message


WAYS: dict[str, Callable[[Followed, int], Awaitable[None]]] = {
    "complete": complete,
    "complete at once": complete_at_once,
    "socket cut": cut,
    "stream closed": close_stream,
}


async def leave(followed: Followed, record: Record, way: str, times: int) -> None:
    """Follow and leave so many times, several at once; then look what is there."""
    # What is made once, on first use, is no trace of those who leave.
    await WAYS[way](followed, AT_ONCE)
    before = await at_rest(followed)
    await asyncio.gather(*(WAYS[way](followed, times // AT_ONCE) for _ in range(AT_ONCE)))
    left = await eventually(
        lambda: inspect(followed.server), lambda seen: holds_no_more(seen, before)
    )
    record("memory kept, MiB", round((left["rss"] - before["rss"]) / MIB, 1))

    assert left["rss"] - before["rss"] < ALLOWED_BYTES
    last = followed.stayed[-1]
    await eventually(lambda: asyncio.sleep(0, followed.stayed[-1]), lambda seen: seen > last)
    assert followed.stayed == list(range(followed.stayed[0], followed.stayed[-1] + 1))
    found = await followed.user.query(
        "query ($id: ID!) { execution(id: $id) { status } }", id=followed.id
    )
    assert found["execution"]["status"] == "RUNNING"


async def at_rest(followed: Followed) -> dict[str, Any]:
    """Look once what is held is what the one who stays holds."""
    return await eventually(
        lambda: inspect(followed.server), lambda seen: (seen["places"], seen["under_way"]) == (1, 0)
    )


def holds_no_more(seen: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether there are no more tasks of any kind, places, bytes and connections.

    The one who stays, and what runs by itself, has a task of some kinds now and then.
    """
    kinds = [count <= max(before["tasks"].get(kind, 0), 1) for kind, count in seen["tasks"].items()]
    held = [seen[name] <= before[name] for name in ("places", "under_way", "checked_out")]
    return all(kinds) and all(held)


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_of_those_who_leave(
    followed: Followed, record: Record, way: str
) -> None:
    """Whichever way they leave; who stays has what comes next, and the code runs on."""
    await leave(followed, record, way, FEW)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_of_a_thousand_who_leave(
    followed: Followed, record: Record, way: str
) -> None:
    """The same, a thousand times."""
    await leave(followed, record, way, MANY)
