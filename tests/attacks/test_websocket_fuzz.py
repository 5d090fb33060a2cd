"""Websocket messages that no client would send: in any order, of any shape, cut anywhere.

Whatever comes, the socket serves on or closes with a code that says why; nothing is logged as
an error, and nothing is left of what was opened.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.factory import create_app
from app.settings import Settings
from services.executor import messages
from tests.support.attacks import bearer
from tests.support.code_runs import RUN
from tests.support.raw import (
    CLOSE,
    NO_CLOSE,
    NO_STATUS,
    PING,
    PONG,
    TEXT,
    Raw,
    frame,
    message,
    shaken,
)
from tests.support.serving import serving
from tests.support.stub_services import Stubs

CLOSES = {1000, 1001, 1002, 1003, 1007, 1009, 4400, 4401, 4403, 4408, 4409, 4429}
SENT_BACK = range(3000, 5000)
"""Applications' codes (RFC 6455, section 7.4.2): a close that says one is answered with it."""
FEW, MANY = 40, 3000
TYPES = ["connection_init", "connection_ack", "ping", "pong", "subscribe", "next", "complete"]
QUERIES = [
    "{ viewer { id } }",
    "{ __typename }",
    RUN,
    "subscription {",
    "{ nothing }",
    "query ($a: Int!) { sandboxes(first: $a) { totalCount } }",
    'mutation { deleteFile(input: {sandboxId: "a", path: "b"}) { deletedPath } }',
    "query A { __typename } query B { __typename }",
    "",
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1", "2", "", "\0", "\ud800", *TYPES, *QUERIES])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "query", "a", "Authorization", ""]), inner)
    ),
    max_leaves=12,
)
ids = st.sampled_from(["1", "2", "3"])
subscribes = st.fixed_dictionaries(
    {
        "type": st.just("subscribe"),
        "id": ids | scalars,
        "payload": st.fixed_dictionaries(
            {"query": st.sampled_from(QUERIES) | scalars},
            optional={"variables": values, "operationName": scalars, "extensions": values},
        )
        | values,
    }
)
near_messages = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | scalars},
    optional={"id": ids | values, "payload": values, "more": values},
)
good = st.sampled_from(
    [
        {"type": "ping"},
        {"type": "complete", "id": "1"},
        *({"type": "subscribe", "id": "1", "payload": {"query": query}} for query in QUERIES[:3]),
    ]
)
# Half of them keep the socket open, so that what follows is not in vain.
spoken = st.lists(good | subscribes | near_messages | values, max_size=8)
frames = st.builds(
    frame,
    st.sampled_from([TEXT, TEXT, TEXT, 0, 2, 3, CLOSE, PING, PONG, 11]),
    st.binary(max_size=200) | st.sampled_from([b"{}", b'{"type": "ping"}', b"\x03\xe8", b"\xff"]),
    first=st.sampled_from([128, 128, 0, 192, 160]),
    mask=st.sampled_from([True, True, True, False]),
)


@pytest.fixture
def stubs() -> Stubs:
    """Give code that says that it began, and then runs on."""
    behind = Stubs()
    behind.executions.events = [messages.Started(1, 1.0)]
    behind.executions.endless = True
    return behind


@pytest.fixture
async def url(stubs: Stubs) -> AsyncIterator[str]:
    """Serve without pings, which would be between the answers."""
    async with serving(create_app(Settings(_env_file=None), stubs.open)) as address:
        yield address


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See that nothing was an error."""
    with capture_logs() as logs:
        yield
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert [each for each in caplog.records if each.levelname in {"ERROR", "CRITICAL"}] == []


@asynccontextmanager
async def harmless(url: str, stubs: Stubs) -> AsyncIterator[Raw]:
    """Send within: the socket serves on until it is closed, or closes with a code that is known.

    Nothing is left then of what was opened.
    """
    async with shaken(url) as raw:
        yield raw
        # Where a frame has not come to its end, this is taken for the rest of it.
        with suppress(ConnectionError):
            await raw.send(frame(CLOSE, (1000).to_bytes(2)))
            raw.writer.write_eof()
        code = await raw.closed()
        # Who closes without a code is answered without one.
        assert code in CLOSES | {NO_CLOSE, NO_STATUS} or code in SENT_BACK, code
    async with asyncio.timeout(5):
        while stubs.executions.closed < stubs.executions.opened:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


# The server is shared by all examples, which is part of the test.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
few = settings(max_examples=FEW, deadline=None, suppress_health_check=SHARED)
many = settings(max_examples=MANY, deadline=None, suppress_health_check=SHARED)


async def say(raw: Raw, said: list[object]) -> None:
    """Send them as messages, until nobody takes them."""
    with suppress(ConnectionError):
        for each in said:
            await raw.send(frame(TEXT, json.dumps(each).encode()))


@given(said=spoken)
@few
async def test_messages(url: str, stubs: Stubs, said: list[object]) -> None:
    """After the first message, whatever a user says."""
    async with harmless(url, stubs) as raw:
        await raw.send(message(type="connection_init", payload={"Authorization": bearer()}))
        await say(raw, said)


@given(said=spoken)
@few
async def test_messages_of_nobody(url: str, stubs: Stubs, said: list[object]) -> None:
    """Without a first message, whatever anybody says; nothing is opened."""
    async with harmless(url, stubs) as raw:
        await say(raw, said)

    assert stubs.executions.opened == 0


@given(sent=st.lists(frames, max_size=6), cut=st.integers(0, 3))
@few
async def test_frames(url: str, stubs: Stubs, sent: list[bytes], cut: int) -> None:
    """Any frames, the last one cut short."""
    whole = b"".join(sent)
    async with harmless(url, stubs) as raw:
        await raw.send(message(type="connection_init", payload={"Authorization": bearer()}))
        with suppress(ConnectionError):
            await raw.send(whole[: len(whole) - cut])


@given(sent=st.binary(max_size=500))
@few
async def test_bytes(url: str, stubs: Stubs, sent: bytes) -> None:
    """Any bytes at all after the handshake."""
    async with harmless(url, stubs) as raw:
        with suppress(ConnectionError):
            await raw.send(sent)


@pytest.mark.long
@given(said=spoken, sent=st.lists(frames, max_size=6))
@many
async def test_much_of_all(url: str, stubs: Stubs, said: list[object], sent: list[bytes]) -> None:
    """The same, many times, messages and frames together."""
    async with harmless(url, stubs) as raw:
        await raw.send(message(type="connection_init", payload={"Authorization": bearer()}))
        await say(raw, said)
        with suppress(ConnectionError):
            await raw.send(b"".join(sent))
