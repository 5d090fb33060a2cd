"""Peers that write slowly, or not to the end, and peers that take nothing.

The server here has a second of patience, where it has 30 and 60 in service.
"""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from tests.support.attacks import ASK, MIB, Record, bearer, inspect, unharmed
from tests.support.code_runs import RUN
from tests.support.faults import eventually
from tests.support.raw import (
    HANDSHAKE,
    SMALL_BUFFER,
    Raw,
    connected,
    message,
    posting,
    request,
    shaken,
)
from tests.support.stack import Server

ALL = 50 * MIB
"""Several times what the kernel's buffers hold."""
ENDLESS = {
    "headers": (request()[:-2], b"X-Endless: 1\r\n" * 1000),
    "one header": (request()[:-2] + b"X-Endless: ", b"x" * 16_000),
    "an address": (b"GET /", b"x" * 16_000),
    "trailers": (
        request(headers={"Transfer-Encoding": "chunked"}, method="POST", path="/health") + b"0\r\n",
        b"X-Endless: 1\r\n" * 1000,
    ),
    "a chunk's extension": (
        request(headers={"Transfer-Encoding": "chunked"}, method="POST", path="/health") + b"1;",
        b"x" * 16_000,
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_head_without_end_is_cut_off(hasty: Server, record: Record, name: str) -> None:
    """Nobody fills the memory by what comes before a body, or after it."""
    begin, more = ENDLESS[name]
    async with unharmed(hasty, record), connected(hasty.url) as raw:
        await raw.send(begin)
        sent = await raw.pour(more, ALL // len(more))

    assert sent + len(more) < ALL


HALF = {
    "nothing": b"",
    "a line": b"GET /",
    "a head": request()[:-2],
    "empty lines": b"\r\n",
    "a handshake": request(headers=HANDSHAKE)[:-2],
}


async def test_a_head_that_does_not_come_is_not_waited_for(hasty: Server) -> None:
    """A connection without a request ends by itself, whatever was sent of one."""

    async def begun(half: bytes) -> bytes:
        async with connected(hasty.url) as raw:
            await raw.send(half)
            return await raw.ended()

    came = await asyncio.gather(*map(begun, HALF.values()))

    assert [answer.split(b" ")[1] for answer in came] == [b"408"] * len(HALF)


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(hasty: Server) -> None:
    """Bytes now and then do not make a connection last."""
    async with connected(hasty.url) as raw:
        ended = asyncio.create_task(raw.ended())
        while not ended.done():
            await raw.pour(b"\r\n", 1)
            await asyncio.wait({ended}, timeout=0.1)

    assert b" 408 " in ended.result()


async def test_a_body_that_does_not_come_is_not_waited_for(hasty: Server, record: Record) -> None:
    """What was sent of it is dropped, and the connection ends."""
    async with unharmed(hasty, record), AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connected(hasty.url)) for _ in range(20)]
        me = bearer()
        for raw in slow:
            await raw.send(posting(me, 40 * MIB) + b"x" * MIB)
        held = await eventually(
            lambda: inspect(hasty), lambda seen: bool(seen["under_way"] > 10 * MIB)
        )
        answers = await asyncio.gather(*(raw.ended() for raw in slow))

    assert held["under_way"] <= 20 * MIB
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)


@pytest.mark.long
async def test_a_body_that_comes_slowly_is_served(hasty: Server) -> None:
    """Who goes on sending may take longer, in all, than silence may last."""
    body = json.dumps(ASK).encode().ljust(60)
    async with connected(hasty.url) as raw:
        await raw.send(posting(bearer(), len(body)))
        for start in range(0, len(body), 10):
            await raw.send(body[start : start + 10])
            await asyncio.sleep(0.25)
        head = await raw.head()

    assert b" 200 " in head


async def unread(server: Server, stack: AsyncExitStack, me: str) -> Raw:
    """Ask for code that prints much by a websocket, and take nothing of it."""
    raw = await stack.enter_async_context(shaken(server.url))
    await raw.send(message(type="connection_init", payload={"Authorization": me}))
    await raw.send(message(type="subscribe", id="1", payload={"query": RUN}))
    return raw


async def test_websockets_that_take_nothing_are_cut_off(hasty: Server, record: Record) -> None:
    """Their streams and places are freed, with neither a close nor a pong from them."""
    me = bearer()
    async with unharmed(hasty, record), AsyncExitStack() as stack:
        opened = (await inspect(hasty))["opened"]
        for _ in range(20):
            await unread(hasty, stack, me)
        await eventually(lambda: inspect(hasty), lambda seen: bool(seen["opened"] == opened + 20))
        freed = await eventually(lambda: inspect(hasty), lambda seen: not seen["streams"])

    assert freed["places"] == 0


async def test_streams_that_are_not_taken_are_cut_off(hasty: Server, record: Record) -> None:
    """The same over HTTP."""
    body = json.dumps({"query": RUN}).encode()
    head = posting(bearer(), len(body), {"Accept": "text/event-stream"})
    async with unharmed(hasty, record), AsyncExitStack() as stack:
        opened = (await inspect(hasty))["opened"]
        for _ in range(20):
            raw = await stack.enter_async_context(connected(hasty.url))
            await raw.send(head + body)
        await eventually(lambda: inspect(hasty), lambda seen: bool(seen["opened"] == opened + 20))
        freed = await eventually(lambda: inspect(hasty), lambda seen: not seen["streams"])

    assert freed["places"] == 0


@pytest.mark.long
async def test_answers_that_are_not_taken_have_a_bound(unhurried: Server, record: Record) -> None:
    """Of a thousand that would be 48 GB, 256 MiB are kept, and those for half a minute."""
    known = (await inspect(unhurried))["execution"]
    large = " ".join(f'a{n}: execution(id: "{known}") {{ stdout }}' for n in range(4))
    body = json.dumps({"query": f"{{ {large} }}"}).encode()
    me = bearer()
    async with unharmed(unhurried, record), AsyncExitStack() as stack:
        for _ in range(1000):
            raw = await stack.enter_async_context(connected(unhurried.url, buffer=SMALL_BUFFER))
            await raw.send(posting(me, len(body)) + body)
        most = await inspect(unhurried)
        record("memory at most, MiB", most["rss"] // MIB)
        await eventually(
            lambda: inspect(unhurried), lambda seen: not seen["under_way"], seconds=120
        )

    assert most["rss"] < 1500 * MIB
