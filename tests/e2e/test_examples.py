"""The examples, run as a reader of the README runs them."""

import json
import shutil
import subprocess
from pathlib import Path

from ops.layout import REPOSITORY
from tests.support.postgres import install_debian
from tests.support.stack import Server, Stack

APOLLO = REPOSITORY / "examples" / "apollo"


def _node() -> None:
    """Have Node, from Debian where it is missing."""
    if shutil.which("npm") is None:
        install_debian("nodejs")
        install_debian("npm")


def test_apollo_client_sees_output_live(stack: Stack, server: Server, tmp_path: Path) -> None:
    """Apollo Client creates a sandbox, follows its output to the end, and deletes it."""
    _node()
    folder = tmp_path / "apollo"
    shutil.copytree(APOLLO, folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
    environment = stack.environment(URL=f"{server.url}/graphql", TOKEN=stack.token())

    done = subprocess.run(
        ["node", "main.mjs"], cwd=folder, env=environment, capture_output=True, timeout=90,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr.decode()
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    text = "".join(event.get("text", "") for event in events)
    assert text == "live\noutput\n"
    assert events[-1]["status"] == "SUCCEEDED"
