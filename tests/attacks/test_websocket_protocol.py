"""graphql-transport-ws to the letter, where `tests/integration/test_http_sockets.py` has not been.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from app.factory import create_app
from app.settings import Settings
from services.executor import messages
from tests.support.attacks import MIB, bearer
from tests.support.code_runs import RUN, printing
from tests.support.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NO_STATUS,
    PING,
    PONG,
    TEXT,
    Raw,
    frame,
    message,
    shaken,
)
from tests.support.serving import Socket, serving, socket
from tests.support.stub_services import Stubs

UNFINISHED = 0
RESERVED = 64


@pytest.fixture
def stubs() -> Stubs:
    """Give what stands behind the server: code that prints one line."""
    return printing("hi\n")


@pytest.fixture
async def url(stubs: Stubs, caplog: pytest.LogCaptureFixture) -> AsyncIterator[str]:
    """Serve, and see that nothing is left and nothing was an error."""
    with capture_logs() as logs:
        async with serving(create_app(Settings(_env_file=None), stubs.open)) as address:
            yield address
            async with asyncio.timeout(5):
                while stubs.executions.closed < stubs.executions.opened:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    told = [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert [record for record in told if record.exc_info] == []


@pytest.fixture
async def client(url: str) -> AsyncIterator[Socket]:
    """Give an acknowledged websocket."""
    async with socket(url, params={"Authorization": bearer()}) as opened:
        await opened.receive()
        yield opened


@pytest.fixture
async def raw(url: str) -> AsyncIterator[Raw]:
    """Give an acknowledged websocket, by its bytes."""
    async with shaken(url) as opened:
        await opened.send(message(type="connection_init", payload={"Authorization": bearer()}))
        assert await opened.text() == {"type": "connection_ack"}
        yield opened


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([frame(TEXT, b"{", first=UNFINISHED), frame(TEXT, b"}")], 1002),
        ([frame(CONTINUATION, b"{}")], 1002),
        ([frame(TEXT, b"{}", first=128 | RESERVED)], 1002),
        ([frame(TEXT, b"{}", mask=False)], 1002),
        ([frame(3, b"")], 1002),
        ([frame(PING, b"x" * 126)], 1002),
        ([frame(PING, b"", first=UNFINISHED)], 1002),
        ([frame(CLOSE, b"\x03")], 1002),
        ([frame(CLOSE, (999).to_bytes(2))], 1002),
        ([frame(TEXT, b'{"type": "\xff\xfe"}')], 1007),
        ([frame(TEXT, b'"\xed\xa0\x80"')], 1007),
        ([frame(TEXT, b"\xff") + frame(CLOSE, (1000).to_bytes(2))], 1000),
        ([frame(TEXT, b"\xff") + frame(CLOSE)], NO_STATUS),
        ([frame(TEXT, b"\xe2\x82", first=UNFINISHED), frame(CONTINUATION, b"")], 1007),
        ([frame(TEXT, b"x" * (4 * MIB + 1))], 1009),
        ([frame(TEXT, b"x" * MIB, first=UNFINISHED)] + [frame(0, b"x" * MIB, first=0)] * 4, 1009),
        ([frame(BINARY, b"{}")], 4400),
        ([frame(BINARY, b"")], 4400),
        ([frame(TEXT, b"")], 4400),
        ([frame(TEXT, b'{"type":', first=UNFINISHED), frame(CONTINUATION, b'"x"}')], 4400),
        ([frame(CLOSE, (1000).to_bytes(2) + b"bye")], 1000),
    ],
)
async def test_frames(raw: Raw, sent: list[bytes], code: int) -> None:
    """What is no frame, no text or no message closes with the code that says so."""
    for each in sent:
        await raw.send(each)

    assert await raw.closed() == code


async def test_a_message_in_pieces_with_a_ping_between(raw: Raw) -> None:
    """It is one message, and the ping has its pong."""
    whole = message(type="subscribe", id="1", payload={"query": "{ __typename }"})[6:]
    assert len(whole) < 126
    await raw.send(frame(TEXT, whole[:9], first=UNFINISHED) + frame(PING, b"now"))
    pong = await raw.frame()
    await raw.send(frame(CONTINUATION, whole[9:]))

    assert pong == (PONG, b"now")
    assert (await raw.text())["type"] == "next"
    assert await raw.text() == {"type": "complete", "id": "1"}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30_000,
        '{"type":' * 20_000,
        json.dumps({"type": "ping", "payload": {}}).replace("{}", "[" * 5000 + "]" * 5000),
        "1" * 100_000,
        '{"type": "next", "id": "1", "payload": {}}',
        '{"type": "error", "id": "1", "payload": []}',
        '{"type": "connection_ack"}',
        '{"type": "Subscribe", "id": "1", "payload": {"query": "{ __typename }"}}',
        '{"type": null}',
        '{"type": "complete", "id": 7}',
        '{"type": "complete"}',
        '{"type": "subscribe", "id": {}, "payload": {"query": "{ __typename }"}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "operationName": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": null}}',
        "NaN",
    ],
    ids=lambda text: text[:30],
)
async def test_messages_that_are_none(client: Socket, text: str) -> None:
    """Deep, from the wrong side or of wrong types: closed with 4400."""
    await client.connection.send(text)

    assert (await client.closed())[0] == 4400


async def test_a_message_of_too_many_values(client: Socket) -> None:
    """It closes with 1009 before it is read."""
    await client.connection.send("[" + "[]," * 1_000_000 + "[]]")

    assert await client.closed() == (1009, "The JSON holds more than 40000 values.")


async def test_a_first_message_of_a_wrong_type(url: str) -> None:
    """Its payload is an object: 4400."""
    async with socket(url) as client:
        await client.send({"type": "connection_init", "payload": ["Authorization"]})

        assert (await client.closed())[0] == 4400


async def test_two_first_messages_at_once(url: str) -> None:
    """The second closes with 4429, whatever becomes of the first."""
    async with socket(url) as client:
        first = {"type": "connection_init", "payload": {"Authorization": bearer()}}
        await client.send(first)
        await client.send(first)

        assert (await client.closed())[0] == 4429


async def test_what_a_client_may_say_at_any_time(client: Socket) -> None:
    """Pings have pongs; pongs, unknown completes and further fields are taken."""
    await client.send({"type": "pong", "payload": {"any": "thing"}})
    await client.send({"type": "complete", "id": "never subscribed"})
    await client.send({"type": "ping", "payload": {"any": "thing"}, "id": "1", "more": True})

    assert await client.receive() == {"type": "pong"}


async def test_an_id_again_once_its_operation_is_over(client: Socket) -> None:
    """After the server's complete, and after the client's own."""
    for _ in range(2):
        await client.subscribe(RUN)
        assert (await client.until_end())[-1]["type"] == "complete"
    await client.subscribe(RUN)
    await client.send({"type": "complete", "id": "1"})
    await client.subscribe("{ __typename }", name="2")
    await client.until_end("2")
    await client.subscribe("{ viewer { role } }")

    assert (await client.until_end())[-1]["type"] == "complete"


async def test_a_syntax_error_in_one_of_many(client: Socket, stubs: Stubs) -> None:
    """It is an error of its id; those before and after go on."""
    stubs.executions.endless = True
    await client.subscribe(RUN, name="before")
    for _ in range(3):
        assert (await client.receive())["id"] == "before"
    await client.subscribe("subscription {", name="off")
    refused = await client.until_end("off")
    await client.subscribe("{ __typename }", name="after")
    answered = await client.until_end("after")

    assert [each["type"] for each in refused] == ["error"]
    assert refused[0]["payload"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    assert [each["type"] for each in answered] == ["next", "complete"]
    assert stubs.executions.closed == 0


async def test_pings_and_a_peer_that_does_not_answer(stubs: Stubs) -> None:
    """The server pings by itself; who says nothing is closed, and what was theirs is freed."""
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.endless = True
    app = create_app(Settings(_env_file=None), stubs.open)
    async with serving(app, ping_seconds=0.2) as url, shaken(url) as raw:
        await raw.send(message(type="connection_init", payload={"Authorization": bearer()}))
        await raw.send(message(type="subscribe", id="1", payload={"query": RUN}))
        seen = [opcode for opcode, _ in await raw.frames()]
        async with asyncio.timeout(5):
            await stubs.executions.closing.wait()

    assert seen == [TEXT, TEXT, PING, CLOSE]
