"""Starts and ends of the real server."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ops.layout import REPOSITORY
from services.executor.ports import free_port
from tests.support.api import Api
from tests.support.serving import socket
from tests.support.stack import Stack, running_server, start_server

COUNT = """subscription ($id: ID!) { executeCode(input: {sandboxId: $id, code:
    "import time\\nfor i in range(600): print(i, flush=True); time.sleep(0.1)"}) {
    __typename executionId seq } }"""


def failed_start(tmp_path: Path, **variables: str) -> list[str]:
    """Start a server that must not start, and return the lines it said last."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "DATA_DIR": str(tmp_path / "data"),
        **variables,
    }
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(free_port())]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, check=False, timeout=60
    )
    assert done.returncode != 0
    said = done.stderr.decode()
    assert "Traceback" not in said
    return said.splitlines()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"ENVIRONMENT": "production", "SUPABASE_JWT_SECRET": "x" * 40}, "DATABASE_URL"),
        ({"ENVIRONMENT": "production", "DATABASE_URL": "postgres://h/d"}, "SUPABASE_JWT_SECRET"),
        ({}, "make setup"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
        (
            {"ENVIRONMENT": "production", "DATABASE_URL": "x", "SUPABASE_JWT_SECRET": "short"},
            "jwt_secret_can_be_guessed",
        ),
    ],
)
def test_start_that_settings_forbid(tmp_path: Path, variables: dict[str, str], named: str) -> None:
    """A start that can't be ends with one clear line."""
    lines = failed_start(tmp_path, **variables)

    assert sum(named in line for line in lines) == 1


def follow(event: dict[str, Any]) -> dict[str, Any]:
    """Give the request that follows an execution over HTTP."""
    query = "subscription ($id: ID!) { executionEvents(executionId: $id) { seq } }"
    return {
        "json": {"query": query, "variables": {"id": event["executionId"]}},
        "headers": {"Accept": "text/event-stream"},
    }


async def test_end_with_a_subscription_running(stack: Stack, tmp_path: Path) -> None:
    """SIGTERM ends subscriptions cleanly; the code runs on and is found again."""
    log = tmp_path / "log"
    token = stack.token()
    server = start_server(stack, log=log)
    try:
        async with Api(server.url, token) as api:
            sandbox = await api.create()
            async with socket(server.url, params={"authorization": f"Bearer {token}"}) as client:
                await client.receive()
                await client.subscribe(COUNT, {"id": sandbox})
                event = (await client.receive())["payload"]["data"]["executeCode"]
                async with api.http.stream("POST", "/graphql", **follow(event)) as stream:
                    pieces = stream.aiter_text()
                    assert "executionEvents" in await anext(pieces) + await anext(pieces)
                    ended = asyncio.create_task(asyncio.to_thread(server.stop))
                    async with asyncio.timeout(10):
                        await client.connection.wait_closed()
                        rest = "".join([piece async for piece in pieces])
            code = await ended
    finally:
        server.kill()
    with running_server(stack, log=log) as again:
        async with Api(again.url, token) as api:
            query = "query ($id: ID!) { execution(id: $id) { status } }"
            found = await api.query(query, id=event["executionId"])
            await api.delete(sandbox)

    assert client.connection.close_code in {1001, 1012}
    assert found == {"execution": {"status": "RUNNING"}}
    # A client that saw no `complete` comes back and goes on.
    assert "complete" not in rest
    assert code in {0, -signal.SIGTERM}
    assert "Traceback" not in log.read_text()
