"""What one user has under way has a bound: bodies that come, and answers that are not taken."""

import json
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import httpx
import pytest

from app import factory
from app.factory import create_app
from app.in_flight import InFlight
from app.settings import Settings
from services.executor import messages
from tests.support.code_runs import RUN
from tests.support.faults import eventually
from tests.support.raw import SMALL_BUFFER, connected, message, posting, shaken
from tests.support.serving import serving, socket
from tests.support.stub_services import Stubs, execution, token

MIB = 1024 * 1024
LARGE = "x" * (8 * MIB)
"""More than the kernel keeps of what nobody takes."""


@pytest.fixture
def in_flight(monkeypatch: pytest.MonkeyPatch) -> Iterator[InFlight]:
    """Let each user have a mebibyte, or one thing that is larger."""
    made = InFlight(MIB)
    monkeypatch.setattr(factory, "InFlight", lambda: made)
    yield made
    assert made._held == {}


@pytest.fixture
def stubs() -> Stubs:
    """Give code and a record with much output."""
    behind = Stubs()
    behind.executions.events = [messages.Output(1, 1.0, messages.OutputStream.STDOUT, LARGE)]
    behind.executions.record = execution(stdout=LARGE)
    return behind


@pytest.fixture
async def url(stubs: Stubs, in_flight: InFlight) -> AsyncIterator[str]:
    """Serve."""
    del in_flight
    async with serving(create_app(Settings(_env_file=None), stubs.open)) as address:
        yield address


def bearer() -> str:
    """Name a new user."""
    return f"Bearer {token(uuid4())}"


async def ask(url: str, body: object, authorization: str) -> httpx.Response:
    """Ask, and take the answer."""
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": authorization}) as client:
        return await client.post("/graphql", json=body)


async def held(in_flight: InFlight) -> int:
    """Return how much is under way."""
    return sum(in_flight._held.values())


@pytest.mark.parametrize("by", ["http", "stream", "websocket"])
async def test_who_does_not_take_an_answer_gets_no_other(
    url: str, stubs: Stubs, in_flight: InFlight, by: str
) -> None:
    """The next large one is refused until then, to this user alone."""
    query = {"query": f'{{ execution(id: "{stubs.executions.record.id}") {{ stdout }} }}'}
    me = bearer()
    body = json.dumps({"query": RUN} if by == "stream" else query).encode()
    accept = {"Accept": "text/event-stream"} if by == "stream" else {}
    handshake = shaken(url, buffer=SMALL_BUFFER)
    async with handshake if by == "websocket" else connected(url, buffer=SMALL_BUFFER) as raw:
        if by == "websocket":
            await raw.send(message(type="connection_init", payload={"Authorization": me}))
            await raw.send(message(type="subscribe", id="1", payload=query))
        else:
            await raw.send(posting(me, len(body), accept) + body)
        await eventually(lambda: held(in_flight), lambda size: size > MIB)
        refused = await ask(url, query, me)
        small = await ask(url, {"query": "{ viewer { role } }"}, me)
        another = await ask(url, query, bearer())
    await eventually(lambda: held(in_flight), lambda size: not size)
    afterwards = await ask(url, query, me)

    assert refused.status_code == 429
    [error] = refused.json()["errors"]
    assert error["extensions"] == {"code": "QUOTA_EXCEEDED", "limit": "bytesUnderWay"}
    assert [each.status_code for each in (small, another, afterwards)] == [200] * 3
    assert afterwards.json()["data"]["execution"]["stdout"] == LARGE


async def test_a_socket_that_would_get_more_is_closed(url: str, in_flight: InFlight) -> None:
    """With the code after which clients try again."""
    me = bearer()
    async with (
        shaken(url, buffer=SMALL_BUFFER) as raw,
        socket(url, params={"Authorization": me}) as client,
    ):
        await raw.send(message(type="connection_init", payload={"Authorization": me}))
        await raw.send(message(type="subscribe", id="1", payload={"query": RUN}))
        await eventually(lambda: held(in_flight), lambda size: size > MIB)
        await client.receive()
        await client.subscribe(RUN)
        code, reason = await client.closed()

    assert code == 1013
    assert "take the answers" in reason


async def test_bodies_that_are_over_it_together(url: str, in_flight: InFlight) -> None:
    """The one that comes last is refused while the other is on its way, unless it is small."""
    me = bearer()
    async with connected(url) as raw:
        await raw.send(posting(me, MIB) + b" " * (MIB - 1))
        await eventually(lambda: held(in_flight), lambda size: size == MIB - 1)
        small = await ask(url, {"query": "{ viewer { role } }"}, me)
        refused = await ask(url, {"query": "{ viewer { role } }" + " " * 70_000}, me)
        await raw.send(b" ")
        answer = await raw.head()

    assert (small.status_code, refused.status_code) == (200, 429)
    assert answer.startswith(b"HTTP/1.1 400 ")
