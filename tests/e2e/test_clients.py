"""The clients that people use, each taken through the same steps against the real stack."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.layout import REPOSITORY
from tests.support import gql_client, node
from tests.support.desk import MAX_CONNECTIONS, open_desk
from tests.support.stack import Server, Stack, running_server

SOCKETS = (
    "apollo-4-websocket",
    "apollo-3-websocket",
    "urql-websocket",
    "relay",
    "graphql-ws",
)
PYTHON = tuple(gql_client.KINDS)
STREAMS = ("apollo-4-multipart", "apollo-3-multipart", "urql-events", "graphql-sse")
OFTEN = ("apollo-4-websocket", "apollo-4-multipart", "urql-events", "gql-httpx")
"""One of each kind; the others with the long tests."""
SECONDS = 120.0

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def strict_server(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve few connections a user."""
    log = tmp_path_factory.mktemp("clients") / "log"
    with running_server(stack, log=log, MAX_CONNECTIONS=str(MAX_CONNECTIONS)) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the clients."""
    target = tmp_path_factory.mktemp("node") / "clients"
    return node.prepare(REPOSITORY / "tests" / "clients", target)


def _client(name: str) -> object:
    return pytest.param(name, marks=[] if name in OFTEN else pytest.mark.long)


@pytest.fixture(scope="module", params=map(_client, SOCKETS + PYTHON + STREAMS))
async def seen(
    request: pytest.FixtureRequest, stack: Stack, strict_server: Server, folder: Path
) -> AsyncIterator[dict[str, Seen]]:
    """Take a client through all steps, as a user of its own; give what it saw at each."""
    async with open_desk(stack, strict_server) as (desk, address):
        environment = stack.environment(URL=desk.url, DESK=address)
        command = (
            [sys.executable, "-m", gql_client.__name__, request.param]
            if request.param in PYTHON
            else ["node", "run.mjs", request.param]
        )
        where = REPOSITORY if request.param in PYTHON else folder
        said = await node.run_beside(where, command, environment, SECONDS)
        lines = [json.loads(line) for line in said.splitlines()]
        client = {"name": request.param, "user": str(desk.user)}
        yield {"client": client} | {line["step"]: line for line in lines}


def check_followed(followed: Seen, executions: int) -> None:
    """Every event once and in order, the code run once, whatever happened in between."""
    assert followed["live"] == "before\n"
    assert followed["text"] == "before\nafter\n"
    assert followed["seqs"] == list(range(1, len(followed["seqs"]) + 1))
    assert followed["status"] == "SUCCEEDED"
    assert followed["runs"] == 1
    assert followed["executions"] == executions


def test_query_and_mutation(seen: dict[str, Seen]) -> None:
    """The token's user asks, and makes a sandbox."""
    assert seen["query"]["viewer"] == seen["client"]["user"]
    assert seen["mutation"]["sandboxId"]


def test_errors(seen: dict[str, Seen]) -> None:
    """An error's code reaches the client's own error, of a mutation and of a subscription."""
    assert seen["error"]["code"] == "NOT_FOUND"
    assert seen["error"]["streamed"] == "NOT_FOUND"


def test_output_is_live(seen: dict[str, Seen]) -> None:
    """The first output is there before the code, which waits for that, says more."""
    check_followed(seen["live"], executions=1)
    assert seen["live"]["faults"] == []


def test_cancelling(seen: dict[str, Seen]) -> None:
    """Unsubscribing ends the events and leaves no connection; the code goes on to its end."""
    assert seen["cancel"]["later"] == 0
    assert seen["cancel"]["status"] == "SUCCEEDED"
    assert seen["cancel"]["stdout"] == "before\nafter\n"


def test_expiry(seen: dict[str, Seen]) -> None:
    """A token's end closes a socket with 4403, a stream with UNAUTHENTICATED; a new one goes on."""
    check_followed(seen["expiry"], executions=3)
    if seen["client"]["name"] in SOCKETS + PYTHON:
        assert 4403 in seen["expiry"]["closes"]
        assert seen["expiry"]["faults"] == []
    else:
        # urql shows the last result of a stream a second time as it ends.
        assert set(seen["expiry"]["faults"]) == {"UNAUTHENTICATED"}
    # One; two where the socket and a query need it at the same moment.
    assert 1 <= seen["expiry"]["signed"] <= 2


def test_a_cut_connection(seen: dict[str, Seen]) -> None:
    """Who subscribes again with the same `clientExecutionId`, client or page, attaches."""
    check_followed(seen["cut"], executions=4)
    if seen["client"]["name"] in SOCKETS + PYTHON:
        assert 1006 in seen["cut"]["closes"]
        assert seen["cut"]["faults"] == []
    elif seen["client"]["name"] == "graphql-sse":
        assert seen["cut"]["faults"] == []
    else:
        assert seen["cut"]["faults"] == ["LOST"]
