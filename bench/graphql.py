"""Subscriptions: our `executeCode`, and Strawberry's own of one item."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from app.demo import Client
from bench.turns import CODE, SAID, Once

RUN = """
subscription ($input: ExecuteCodeInput!) { executeCode(input: $input) {
  __typename executionId seq
  ... on OutputChunk { text } ... on OutputGap { droppedBytes } } }
"""
BRIEF = """
subscription ($input: ExecuteCodeInput!) { executeCode(input: $input) {
  __typename ... on OutputChunk { text } } }
"""
ITEM = "subscription { item }"
CREATE = """
mutation { createSandbox(input: {name: "bench", start: true}) { sandbox { id status } } }
"""
DELETE = """
mutation ($id: ID!) { deleteSandbox(input: {sandboxId: $id}) { deletedSandboxId } }
"""
TIMEOUT_SECONDS = 300


@asynccontextmanager
async def opened(url: str, token: str = "") -> AsyncIterator[Client]:
    """Open a websocket."""
    async with AsyncExitStack() as stack:
        yield await Client.open(stack, url, token)


@asynccontextmanager
async def sandbox_of(client: Client) -> AsyncIterator[str]:
    """Create a sandbox and start it; it is deleted in the end."""
    made = await client.result(CREATE)
    sandbox = str(made["createSandbox"]["sandbox"]["id"])
    try:
        yield sandbox
    finally:
        await client.result(DELETE, {"id": sandbox})


async def events(client: Client, sandbox: str, code: str) -> AsyncGenerator[dict[str, Any], None]:
    """Run code and yield its events."""
    variables: dict[str, object] = {
        "input": {"sandboxId": sandbox, "code": code, "timeoutSeconds": TIMEOUT_SECONDS}
    }
    async for data in client.results(RUN, variables):
        yield data["executeCode"]


def executing(client: Client, sandbox: str) -> Once:
    """Our `executeCode`, over one open websocket."""
    variables: dict[str, object] = {"input": {"sandboxId": sandbox, "code": CODE}}

    async def once() -> tuple[float, float]:
        began = time.perf_counter()
        first = 0.0
        text = ""
        async for data in client.results(BRIEF, variables):
            event = data["executeCode"]
            if event["__typename"] == "OutputChunk":
                first = first or time.perf_counter() - began
                text += event["text"]
        taken = time.perf_counter() - began
        if text != SAID:
            raise RuntimeError(f"executeCode said {text!r}")
        return first, taken

    return once


def bare_subscription(client: Client) -> Once:
    """Strawberry's own subscription of one item, over one open websocket."""

    async def once() -> tuple[float, float]:
        began = time.perf_counter()
        first = 0.0
        async for _ in client.results(ITEM):
            first = first or time.perf_counter() - began
        return first, time.perf_counter() - began

    return once
