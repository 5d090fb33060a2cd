"""The examples, run as a reader of the README runs them."""

import json
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from ops.layout import REPOSITORY
from tests.support import node
from tests.support.postgres import install_debian
from tests.support.stack import Server, Stack
from tests.support.tokens import user_token

EXAMPLES = REPOSITORY / "examples"
SECONDS = 90.0


@pytest.fixture
def environment(stack: Stack, server: Server) -> dict[str, str]:
    """Export what the README exports, for a new user."""
    return stack.environment(URL=f"{server.url}/graphql", TOKEN=user_token(stack))


def check_session(lines: list[str], environment: dict[str, str]) -> None:
    """All events are there, a line each, with what the code printed; no sandbox is left."""
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    text = "".join(event.get("text", "") for event in events)
    assert text == "live\noutput\n"
    assert events[-1]["status"] == "SUCCEEDED"
    authorization = {"Authorization": f"Bearer {environment['TOKEN']}"}
    asked = {"query": "{ sandboxes { totalCount } }"}
    left = httpx.post(environment["URL"], json=asked, headers=authorization).json()
    assert left == {"data": {"sandboxes": {"totalCount": 0}}}


@pytest.mark.parametrize("name", ["apollo", "urql"])
def test_javascript(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    """A client creates a sandbox, follows its output to the end, and deletes it."""
    folder = node.prepare(EXAMPLES / name, tmp_path / name)

    said = node.run(folder, "main.mjs", environment)

    check_session(said.splitlines(), environment)


async def test_python(environment: dict[str, str]) -> None:
    """So does gql."""
    command = [sys.executable, "main.py"]
    said = await node.run_beside(EXAMPLES / "python", command, environment, SECONDS)

    check_session(said.splitlines(), environment)


async def test_curl(environment: dict[str, str]) -> None:
    """So does a shell script, which downloads a file too."""
    for program in ("curl", "jq"):
        if shutil.which(program) is None:
            install_debian(program)

    said = await node.run_beside(EXAMPLES / "curl", ["sh", "session.sh"], environment, SECONDS)
    *events, answer = said.splitlines()

    check_session(events, environment)
    assert answer == "42"
