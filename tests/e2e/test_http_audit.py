"""The public audit of servers: what the GraphQL over HTTP draft asks, as its own tool asks it."""

import json
from pathlib import Path

from ops.layout import REPOSITORY
from tests.support import node
from tests.support.stack import Server, Stack

AUDITS = 61


def test_every_audit_passes(stack: Stack, server: Server, tmp_path: Path) -> None:
    """Those that only warn included."""
    folder = node.prepare(REPOSITORY / "tests" / "clients", tmp_path / "clients")
    environment = stack.environment(URL=f"{server.url}/graphql", TOKEN=stack.token())

    audits = json.loads(node.run(folder, "audit.mjs", environment))

    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) == AUDITS
