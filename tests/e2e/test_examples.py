"""The examples, run as a reader of the README runs them."""

import json
from pathlib import Path

from ops.layout import REPOSITORY
from tests.support import node
from tests.support.stack import Server, Stack


def test_apollo_client_sees_output_live(stack: Stack, server: Server, tmp_path: Path) -> None:
    """Apollo Client creates a sandbox, follows its output to the end, and deletes it."""
    folder = node.prepare(REPOSITORY / "examples" / "apollo", tmp_path / "apollo")
    environment = stack.environment(URL=f"{server.url}/graphql", TOKEN=stack.token())

    said = node.run(folder, "main.mjs", environment)

    events = [json.loads(line) for line in said.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    text = "".join(event.get("text", "") for event in events)
    assert text == "live\noutput\n"
    assert events[-1]["status"] == "SUCCEEDED"
