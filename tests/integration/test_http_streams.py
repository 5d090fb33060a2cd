"""Subscriptions over HTTP against a real server, on services that answer from memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from app import graphql_streams, writing
from app.factory import create_app
from app.settings import Settings
from services.errors import ConflictError
from services.executor import messages
from tests.support.code_runs import RUN, printing
from tests.support.serving import serving
from tests.support.stub_services import Stubs, token

EVENTS = "text/event-stream"
APOLLO = 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json'
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, "
    "text/event-stream, multipart/mixed"
)


@pytest.fixture
def stubs() -> Stubs:
    """Give what stands behind the server: code that prints one line."""
    return printing("hi\n\r\u2028\n\n")


@pytest.fixture
async def http(stubs: Stubs) -> AsyncIterator[httpx.AsyncClient]:
    """Serve, and give a user's client."""
    async with (
        serving(create_app(Settings(_env_file=None), stubs.open)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        client.headers["Authorization"] = f"Bearer {token()}"
        yield client


def asked(accept: str, query: str = RUN, seconds: float = 600) -> dict[str, Any]:
    """Give the arguments of a request."""
    return {
        "json": {"query": query},
        "headers": {"Accept": accept, "Authorization": f"Bearer {token(uuid4(), seconds)}"},
    }


def events_in(text: str) -> list[tuple[str, Any]]:
    """Read server-sent events as urql does: by LF alone."""
    read = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.partition(":")[::2] for line in block.split("\n"))
        if "event" in fields:
            data = fields["data"].strip()
            read.append((fields["event"].strip(), json.loads(data) if data else None))
    return read


def parts_in(text: str) -> list[Any]:
    """Read the parts of a multipart body."""
    assert text.startswith("--graphql\r\n")
    assert text.endswith("\r\n--graphql--\r\n")
    bodies = text.removesuffix("--\r\n").split("\r\n--graphql")[:-1]
    return [json.loads(body.partition("\r\n\r\n")[2]) for body in bodies]


async def test_server_sent_events(http: httpx.AsyncClient, stubs: Stubs) -> None:
    """Each result is an event `next`, then comes `complete`; only LF ends lines."""
    response = await http.post("/graphql", **asked(EVENTS))
    read = events_in(response.text)

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert [name for name, _ in read] == ["next"] * 3 + ["complete"]
    assert [data["data"]["executeCode"]["seq"] for _, data in read[:-1]] == [1, 2, 3]
    assert read[1][1]["data"]["executeCode"]["text"] == "hi\n\r\u2028\n\n"
    assert "\r" not in response.text
    assert stubs.executions.closed == stubs.executions.opened == 1


async def test_apollos_multipart(http: httpx.AsyncClient) -> None:
    """Each result is a part with a payload; the last delimiter ends the stream."""
    response = await http.post("/graphql", **asked(APOLLO))
    parts = parts_in(response.text)

    assert response.headers["content-type"] == (
        'multipart/mixed; boundary="graphql"; subscriptionSpec=1.0'
    )
    assert [part["payload"]["data"]["executeCode"]["seq"] for part in parts] == [1, 2, 3]


@pytest.mark.parametrize("accept", [APOLLO, URQL])
async def test_queries_of_the_same_clients_are_json(http: httpx.AsyncClient, accept: str) -> None:
    """Clients name the formats of streams with every request; a query is answered as ever."""
    response = await http.post("/graphql", **asked(accept, "{ viewer { role } }"))

    assert response.headers["content-type"].startswith("application/")
    assert response.json() == {"data": {"viewer": {"role": "authenticated"}}}


async def test_a_subscription_of_urqls(http: httpx.AsyncClient) -> None:
    """Where several formats are taken, a stream comes in one of them."""
    response = await http.post("/graphql", **asked(URQL))

    assert [name for name, _ in events_in(response.text)] == ["next"] * 3 + ["complete"]


async def test_a_query_over_events(http: httpx.AsyncClient) -> None:
    """A client that takes events alone gets a query's one result as one."""
    response = await http.post("/graphql", **asked(EVENTS, "{ viewer { role } }"))

    assert events_in(response.text) == [
        ("next", {"data": {"viewer": {"role": "authenticated"}}}),
        ("complete", None),
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (RUN, "CONFLICT"),
    ],
)
async def test_refusals_have_their_code(
    http: httpx.AsyncClient, stubs: Stubs, query: str, code: str
) -> None:
    """What can't be run is told as a result with errors, then the end."""
    stubs.executions.refusal = ConflictError("Start it first.", status="STOPPED")
    response = await http.post("/graphql", **asked(EVENTS, query))
    [(_, refused), (last, _)] = events_in(response.text)

    assert refused["errors"][0]["extensions"]["code"] == code
    assert last == "complete"


async def test_a_fault_in_a_stream_is_masked(http: httpx.AsyncClient, stubs: Stubs) -> None:
    """A fault of ours in the middle says nothing but its id."""
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.fault = RuntimeError("secret")
    response = await http.post("/graphql", **asked(EVENTS))
    read = events_in(response.text)

    assert "secret" not in response.text
    assert read[1][1]["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert read[1][1]["errors"][0]["extensions"]["errorId"]


@pytest.mark.parametrize("accept", [EVENTS, APOLLO])
async def test_without_a_good_token_there_is_no_stream(
    http: httpx.AsyncClient, accept: str
) -> None:
    """The status says so before anything is streamed."""
    response = await http.post("/graphql", **asked(accept, seconds=-1))

    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("method", "accept", "status"),
    [
        ("POST", "application/json", 400),
        ("POST", "multipart/mixed", 406),
        ("POST", "multipart/mixed;deferSpec=20220824,application/json", 400),
        ("POST", "text/event-stream;q=0,application/json", 400),
        ("POST", "image/png", 406),
        ("GET", "text/event-stream", 405),
        ("GET", "text/event-stream, application/json", 400),
    ],
)
async def test_what_is_not_streamed(
    http: httpx.AsyncClient, method: str, accept: str, status: int
) -> None:
    """Without a format of streams a subscription is refused, and by GET in any case."""
    call = asked(accept)
    if method == "GET":
        response = await http.get("/graphql", params=call["json"], headers=call["headers"])
    else:
        response = await http.post("/graphql", **call)

    assert response.status_code == status
    assert response.json()["errors"]


@asynccontextmanager
async def endless(
    http: httpx.AsyncClient, stubs: Stubs, accept: str, seconds: float = 600
) -> AsyncIterator[AsyncIterator[str]]:
    """Have a stream that does not end by itself, past its first event."""
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.endless = True
    async with http.stream("POST", "/graphql", **asked(accept, seconds=seconds)) as response:
        pieces = response.aiter_text()
        async for piece in pieces:
            if "ExecutionStarted" in piece:
                break
        yield pieces


async def test_leaving_frees_what_was_opened(http: httpx.AsyncClient, stubs: Stubs) -> None:
    """A client that goes closes the stream behind at once, though nothing is written."""
    async with endless(http, stubs, EVENTS):
        pass
    async with asyncio.timeout(5):
        await stubs.executions.closing.wait()

    assert stubs.executions.closed == stubs.executions.opened == 1


@pytest.mark.parametrize(
    ("accept", "beat"), [(EVENTS, ":\n\n"), (APOLLO, "\r\n\r\n{}\r\n--graphql")]
)
async def test_silence_is_broken(
    http: httpx.AsyncClient,
    stubs: Stubs,
    monkeypatch: pytest.MonkeyPatch,
    accept: str,
    beat: str,
) -> None:
    """While nothing happens, something that means nothing is sent."""
    monkeypatch.setattr(graphql_streams, "HEARTBEAT_SECONDS", 0.02)
    async with endless(http, stubs, accept) as pieces, asyncio.timeout(5):
        came = [await anext(pieces) for _ in range(3)]

    assert all(piece.endswith(beat) for piece in came)


@pytest.mark.parametrize("accept", [EVENTS, APOLLO])
async def test_a_token_that_expires_ends_the_stream(
    http: httpx.AsyncClient, stubs: Stubs, accept: str
) -> None:
    """The client is told why, so that it can go on with a new one; nothing is left behind."""
    async with asyncio.timeout(10), endless(http, stubs, accept, seconds=2) as pieces:
        rest = "".join([piece async for piece in pieces])

    assert "UNAUTHENTICATED" in rest
    assert rest.endswith("event: complete\ndata:\n\n" if accept == EVENTS else "--graphql--\r\n")
    assert stubs.executions.closed == 1


async def test_streams_of_a_user_are_limited(stubs: Stubs) -> None:
    """One too many is refused with a status; each end frees a place."""
    settings = Settings(_env_file=None, max_connections=1)
    call = asked(EVENTS)
    async with (
        serving(create_app(settings, stubs.open)) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        ended = [await http.post("/graphql", **call) for _ in range(5)]
        stubs.executions.endless = True
        async with http.stream("POST", "/graphql", **call):
            refused = await http.post("/graphql", **call)
            another_users = await http.post("/graphql", **asked(EVENTS, "{ __typename }"))
            query = await http.post("/graphql", **call | {"json": {"query": "{ __typename }"}})

    assert {response.status_code for response in ended} == {200}
    assert refused.status_code == 429
    assert refused.json()["errors"][0]["extensions"] == {
        "code": "QUOTA_EXCEEDED",
        "limit": "connections",
    }
    assert another_users.status_code == 200
    assert query.status_code == 429


async def test_leaving_at_odd_moments_is_no_error(http: httpx.AsyncClient, stubs: Stubs) -> None:
    """Clients that cut their streams leave nothing behind, in the log neither."""
    stubs.executions.events = [messages.Output(1, 1.0, messages.OutputStream.STDOUT, "x" * 100_000)]
    stubs.executions.endless = True
    with capture_logs() as logs:
        for _ in range(20):
            async with endless_bytes(http):
                pass
        async with asyncio.timeout(5):
            while stubs.executions.closed < stubs.executions.opened:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert [line for line in logs if line["log_level"] == "error"] == []


@asynccontextmanager
async def endless_bytes(http: httpx.AsyncClient) -> AsyncIterator[None]:
    """Have a stream of which nothing but the head was read."""
    async with http.stream("POST", "/graphql", **asked(EVENTS)):
        yield


async def test_a_client_that_takes_nothing_is_given_up(
    http: httpx.AsyncClient, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody takes for a while ends the stream, and what was opened for it."""
    monkeypatch.setattr(writing, "TAKEN_SECONDS", 0.1)
    much = messages.Output(1, 1.0, messages.OutputStream.STDOUT, "x" * 30_000_000)
    stubs.executions.events = [much, much, much]
    stubs.executions.endless = True
    async with endless_bytes(http), asyncio.timeout(10):
        await stubs.executions.closing.wait()

    assert stubs.executions.closed == stubs.executions.opened == 1
