"""GraphQL over a websocket against a real server, on services that answer from memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from uuid import uuid4

import httpx
import jwt
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app import graphql_ws
from app.factory import create_app
from app.settings import Settings
from services.errors import ConflictError
from services.executor import messages
from tests.support.code_runs import RUN, printing
from tests.support.serving import serving, socket
from tests.support.stub_services import SECRET, Stubs, token


@pytest.fixture
def stubs() -> Stubs:
    """Give what stands behind the server: code that prints one line."""
    return printing("hi\n")


@pytest.fixture
async def url(stubs: Stubs) -> AsyncIterator[str]:
    """Serve, and give the address."""
    settings = Settings(_env_file=None, allowed_origins=("https://friend.example",))
    async with serving(create_app(settings, stubs.open)) as address:
        yield address


def params() -> dict[str, object]:
    """Name a user in the first message."""
    return {"Authorization": f"Bearer {token()}"}


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_execute_code(url: str, stubs: Stubs, name: str) -> None:
    """Events come in order, then the end; the header has either spelling."""
    async with socket(url, params={name: f"Bearer {token()}"}) as client:
        assert (await client.receive())["type"] == "connection_ack"
        await client.subscribe(RUN)
        received = await client.until_end()

    assert [message["type"] for message in received] == ["next"] * 3 + ["complete"]
    events = [message["payload"]["data"]["executeCode"] for message in received[:-1]]
    assert [event["seq"] for event in events] == [1, 2, 3]
    assert events[1]["text"] == "hi\n"
    assert stubs.executions.closed == 1


ANONYMOUS = jwt.encode({"role": "anon", "exp": 2**33}, SECRET, algorithm="HS256")
MISSING = "Send a token: `Authorization: Bearer <jwt>`."
EXPIRED = "The token has expired: go on with a new one."
UNVERIFIED = (
    "The token is missing or does not verify. "
    "Send `Authorization: Bearer <token>` with a valid token of a signed-in user."
)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, MISSING),
        ({"Authorization": "nonsense"}, "Send the token as `Authorization: Bearer <jwt>`."),
        ({"Authorization": 7}, MISSING),
        ({"Authorization": f"Bearer {token(seconds=-1)}"}, EXPIRED),
        ({"Authorization": "Bearer a.b.c"}, UNVERIFIED),
        (
            {"Authorization": f"Bearer {ANONYMOUS}"},
            "An anonymous key may not do this: sign in and send that token.",
        ),
    ],
)
async def test_bad_tokens(url: str, given: dict[str, object], why: str) -> None:
    """Without a good token the socket is closed with 4403, and says why as HTTP does."""
    header = given.get("Authorization")
    async with httpx.AsyncClient(base_url=url) as http:
        if isinstance(header, str):
            http.headers["Authorization"] = header
        answer = (await http.post("/graphql", json={"query": "{ __typename }"})).json()
    async with socket(url, params=given) as client:
        assert await client.closed() == (4403, why)
    assert answer["errors"][0]["message"] == why


async def test_refusal_is_an_error_of_that_operation(url: str, stubs: Stubs) -> None:
    """A refused operation answers `error`, and the socket goes on."""
    stubs.executions.refusal = ConflictError("Start it first.", status="STOPPED")
    async with socket(url, params=params()) as client:
        await client.receive()
        await client.subscribe(RUN)
        refused = await client.until_end()
        await client.subscribe("{ viewer { role } }", name="2")
        answered = await client.until_end("2")

    assert [message["type"] for message in refused] == ["error"]
    assert refused[0]["payload"][0]["extensions"] == {"code": "CONFLICT", "status": "STOPPED"}
    assert answered[0]["payload"] == {"data": {"viewer": {"role": "authenticated"}}}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{a" * 10_000, "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_VALIDATION_FAILED"),
        ("fragment A on Query { viewer { id } }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_bad_documents(url: str, query: str, code: str) -> None:
    """A document that can't be run answers `error` for its id alone."""
    async with socket(url, params=params()) as client:
        await client.receive()
        await client.subscribe(query)
        received = await client.until_end()

    assert [message["type"] for message in received] == ["error"]
    assert received[0]["payload"][0]["extensions"]["code"] == code


async def test_a_document_over_the_limit(url: str) -> None:
    """It is an error of that operation, and what stands in variables does not count."""
    query = "query ($id: ID!) { sandbox(id: $id) { id } }"
    async with socket(url, params=params()) as client:
        await client.receive()
        await client.subscribe(query + " " * 100_000, {"id": "x"})
        refused = await client.until_end()
        await client.subscribe(query, {"id": "x" * 200_000}, name="2")
        answered = await client.until_end("2")

    assert [message["type"] for message in refused] == ["error"]
    assert refused[0]["payload"][0]["extensions"]["code"] == "PAYLOAD_TOO_LARGE"
    assert answered[0]["payload"] == {"data": {"sandbox": None}}


async def test_fault_in_a_stream_is_masked(url: str, stubs: Stubs) -> None:
    """A fault of ours in the middle of a stream says nothing but its id."""
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.fault = RuntimeError("secret")
    with capture_logs() as logs:
        async with socket(url, params=params()) as client:
            await client.receive()
            await client.subscribe(RUN)
            received = await client.until_end()

    assert "secret" not in json.dumps(received)
    extensions = received[1]["payload"]["errors"][0]["extensions"]
    assert extensions["code"] == "INTERNAL_SERVER_ERROR"
    assert extensions["errorId"] in [line.get("error_id") for line in logs]


@pytest.mark.parametrize("how", ["complete", "close", "cut"])
async def test_leaving_frees_what_was_opened(url: str, stubs: Stubs, how: str) -> None:
    """However a reader leaves, the stream behind it is closed."""
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.endless = True
    async with socket(url, params=params()) as client:
        await client.receive()
        await client.subscribe(RUN)
        await client.receive()
        match how:
            case "complete":
                await client.send({"id": "1", "type": "complete"})
            case "close":
                await client.connection.close()
            case "cut":
                client.connection.transport.abort()
        async with asyncio.timeout(5):
            await stubs.executions.closing.wait()

    assert stubs.executions.closed == stubs.executions.opened == 1


async def test_shutdown_ends_subscriptions(stubs: Stubs) -> None:
    """A server that ends closes its sockets with a code that makes clients come back."""
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.endless = True
    async with AsyncExitStack() as client_end:
        with capture_logs() as logs:
            async with serving(create_app(Settings(_env_file=None), stubs.open)) as url:
                client = await client_end.enter_async_context(socket(url, params=params()))
                await client.receive()
                await client.subscribe(RUN)
                await client.receive()
            code, _ = await client.closed()

    assert code in {1001, 1012}
    assert stubs.executions.closed == 1
    assert [line for line in logs if line["log_level"] == "error"] == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ([], 4400),
        ("text", 4400),
        ({"type": "nonsense"}, 4400),
        ({"type": "subscribe", "payload": {"query": "{ __typename }"}}, 4400),
        ({"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}, 4400),
        ({"type": "subscribe", "id": "1", "payload": []}, 4400),
        ({"type": "subscribe", "id": "1", "payload": {"query": 1}}, 4400),
        ({"type": "subscribe", "id": "1", "payload": {"query": "{a}", "variables": []}}, 4400),
        ({"type": "connection_init"}, 4429),
    ],
)
async def test_bad_messages(url: str, message: object, code: int) -> None:
    """A message of the wrong shape closes the socket with the protocol's code."""
    async with socket(url, params=params()) as client:
        await client.receive()
        await client.send(message)

        assert (await client.closed())[0] == code


async def test_raw_bytes_and_large_messages(url: str) -> None:
    """No JSON and no text are refused with 4400, over 4 MiB of UTF-8 with 1009."""
    large = (f'"{"x" * 2**22}"', f'"{"é" * 2**21}"', f'"{"x" * (2**22 - 2)}"')
    raws: tuple[str | bytes, ...] = ("{", b"{}", *large)
    for raw, code in zip(raws, (4400, 4400, 1009, 1009, 4400), strict=True):
        async with socket(url, params=params()) as client:
            await client.receive()
            # The close may come before all has been sent.
            with suppress(ConnectionClosed):
                await client.connection.send(raw)

            assert (await client.closed())[0] == code


async def test_order_of_messages(url: str) -> None:
    """Nothing runs before the first message, and an id is used once at a time."""
    async with socket(url) as client:
        await client.subscribe(RUN)
        assert await client.closed() == (
            4401,
            "Send connection_init, with a token, and wait for connection_ack before you subscribe",
        )


async def test_id_in_use(url: str, stubs: Stubs) -> None:
    """A second operation with an id that is in use closes the socket with 4409."""
    stubs.executions.endless = True
    async with socket(url, params=params()) as client:
        await client.receive()
        await client.subscribe(RUN)
        await client.subscribe(RUN)

        assert (await client.closed())[0] == 4409


async def test_other_protocols(url: str) -> None:
    """The legacy protocol is off."""
    async with socket(url, protocol="graphql-ws") as client:
        assert await client.closed() == (4406, "Speak the subprotocol graphql-transport-ws")


async def test_silence_at_the_beginning(stubs: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends no first message is told which one was waited for."""
    monkeypatch.setattr(graphql_ws, "INIT_WAIT", timedelta(seconds=0.05))
    async with (
        serving(create_app(Settings(_env_file=None), stubs.open)) as url,
        socket(url) as client,
    ):
        assert await client.closed() == (4408, "There came no connection_init in time")


async def test_origins(url: str) -> None:
    """A page of another origin is refused at the handshake; an allowed one is not."""
    with pytest.raises(InvalidStatus):
        async with socket(url, origin="https://other.example"):
            pytest.fail("it was let in")
    for origin in ("https://friend.example", url):
        async with socket(url, params=params(), origin=origin) as client:
            assert (await client.receive())["type"] == "connection_ack"


async def test_a_token_that_expires_closes_the_socket(url: str, stubs: Stubs) -> None:
    """With 4403, so that clients fetch a new one and come back; nothing of theirs is left."""
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.endless = True
    async with socket(url, params={"Authorization": f"Bearer {token(uuid4(), 2)}"}) as client:
        await client.receive()
        await client.subscribe(RUN)
        assert (await client.receive())["type"] == "next"

        assert await client.closed() == (4403, "The token has expired")
    assert stubs.executions.closed == stubs.executions.opened == 1


async def test_connections_of_a_user_are_limited(stubs: Stubs) -> None:
    """One too many is closed with a code after which clients try again; each end frees a place."""
    settings = Settings(_env_file=None, max_connections=2)
    mine = {"Authorization": f"Bearer {token(uuid4())}"}
    async with serving(create_app(settings, stubs.open)) as url, AsyncExitStack() as opened:
        for _ in range(20):
            async with socket(url, params=mine) as client:
                await client.receive()
        first = await opened.enter_async_context(socket(url, params=mine))
        second = await opened.enter_async_context(socket(url, params=mine))
        acknowledged = [await first.receive(), await second.receive()]
        async with socket(url, params=mine) as third:
            refused = await third.closed()
        async with socket(url, params=params()) as another_users:
            acknowledged.append(await another_users.receive())
        first.connection.transport.abort()
        await second.connection.close()
        freed = await opened.enter_async_context(socket(url, params=mine))
        acknowledged.append(await freed.receive())

    assert {message["type"] for message in acknowledged} == {"connection_ack"}
    assert refused == (1013, "A user has 2 connections at once")


async def test_what_never_began_has_no_data(url: str) -> None:
    """As the specification has it, and as plain HTTP answers."""
    query = "query ($first: Int!) { sandboxes(first: $first) { totalCount } }"
    async with socket(url, params={"Authorization": f"Bearer {token()}"}) as client:
        await client.receive()
        await client.subscribe(query, {"first": "x"})
        [refused, *_] = await client.until_end()

    payload = refused["payload"]
    assert (payload if isinstance(payload, dict) else {}).keys() <= {"errors"}
    assert "BAD_USER_INPUT" in json.dumps(payload)
