"""Sockets that are opened and then do nothing, more of them than any user needs."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.attacks import ASK, MIB, Record, bearer, inspect, target, unharmed
from tests.support.faults import eventually
from tests.support.inspected import PATIENCE_SECONDS
from tests.support.raw import connected, shaken
from tests.support.serving import Socket, socket
from tests.support.stack import Server

OF_ONE_USER = 50
FEW, MANY = 100, 1000


@asynccontextmanager
async def acknowledged(server: Server, count: int) -> AsyncIterator[list[Socket]]:
    """Have so many websockets of as few users as may have them."""
    async with AsyncExitStack() as stack:
        sockets: list[Socket] = []
        while len(sockets) < count:
            params = {"Authorization": bearer()}
            for _ in range(min(OF_ONE_USER, count - len(sockets))):
                one = await stack.enter_async_context(socket(server.url, params=params))
                assert (await one.receive())["type"] == "connection_ack"
                sockets.append(one)
        yield sockets


async def idle(server: Server, record: Record, count: int) -> None:
    """Have them, see that each still serves, and leave without a word."""
    async with unharmed(server, record):
        before = await inspect(server)
        async with acknowledged(server, count) as sockets:
            held = await inspect(server)
            await sockets[-1].subscribe("{ viewer { role } }")
            answered = await sockets[-1].until_end()
            for one in sockets:
                one.connection.transport.abort()
    record("KiB a socket", round((held["rss"] - before["rss"]) / count / 1024, 1))

    assert held["places"] == count
    assert [message["type"] for message in answered] == ["next", "complete"]
    assert held["rss"] - before["rss"] < count * MIB


async def test_idle_websockets(server: Server, record: Record) -> None:
    """They cost a little memory while they are there, and nothing afterwards."""
    await idle(server, record, FEW)


@pytest.mark.long
async def test_a_thousand_idle_websockets(server: Server, record: Record) -> None:
    """The same with a thousand."""
    await idle(server, record, MANY)


async def silent(server: Server, record: Record, count: int) -> None:
    """Open websockets that never say who they are, and as many connections that say nothing."""
    async with unharmed(server, record), AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(shaken(server.url)) for _ in range(count)]
        mute = [await stack.enter_async_context(connected(server.url)) for _ in range(count)]
        codes = await asyncio.gather(*(each.closed() for each in sockets))
        answers = await asyncio.gather(*(each.ended() for each in mute))

    assert set(codes) == {4408}
    assert {answer.split(b" ")[1] for answer in answers} == {b"408"}


async def test_silent_sockets(hasty: Server, record: Record) -> None:
    """The server ends them, with the protocol's code and HTTP's."""
    await silent(hasty, record, FEW)


@pytest.mark.long
async def test_a_thousand_silent_sockets(hasty: Server, record: Record) -> None:
    """The same with a thousand of each."""
    await silent(hasty, record, MANY)


@pytest.mark.long
async def test_more_sockets_than_descriptors(tmp_path: Path) -> None:
    """Who is connected is served on; others are reset until the silent ones have been ended."""
    with target(tmp_path / "log", **{PATIENCE_SECONDS: "3.0"}) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (128, 128))
        headers = {"Authorization": bearer()}
        async with (
            httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as early,
            httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as late,
            AsyncExitStack() as stack,
        ):
            assert (await early.post("/graphql", json=ASK)).is_success
            for _ in range(400):
                await stack.enter_async_context(connected(server.url))
            meanwhile = await early.post("/graphql", json=ASK)
            await eventually(lambda: is_served(late), bool)

        assert meanwhile.is_success


async def is_served(client: httpx.AsyncClient) -> bool:
    """Whether it reaches the server, and gets an answer."""
    try:
        return (await client.post("/graphql", json=ASK)).is_success
    except httpx.TransportError:
        return False
