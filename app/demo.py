"""`python -m app.demo`: against a running server, watch code run in a new sandbox.

It creates a sandbox, runs code by the subscription, prints the events as they come with the
milliseconds since the code was sent, and deletes the sandbox again.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from app.settings import Settings, SettingsError
from app.token import DEVELOPER, HOUR_SECONDS, development_token

CODE = """\
import platform, time
print("Python", platform.python_version(), "on", platform.system(), platform.release())
for i in range(3):
    print("tick", i, flush=True)
    time.sleep(0.3)
import numpy as np
np.arange(12).reshape(3, 4)
"""
CREATE = """
mutation { createSandbox(input: {name: "demo", start: true}) {
  sandbox { id status image limits { memoryBytes cpus } } } }
"""
RUN = """
subscription ($input: ExecuteCodeInput!) { executeCode(input: $input) {
  __typename seq
  ... on OutputChunk { stream text }
  ... on DisplayOutput { data { isResult text } }
  ... on ExecutionErrored { error { name value traceback } }
  ... on ExecutionFinished { status exitCode durationMs } } }
"""
DELETE = """
mutation ($id: ID!) { deleteSandbox(input: {sandboxId: $id}) { deletedSandboxId } }
"""


class DemoError(Exception):
    """The server answered with an error, or not at all."""


class Client:
    """One websocket, one operation at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._operations = 0

    @classmethod
    async def open(cls, stack: AsyncExitStack, url: str, token: str) -> Self:
        """Connect and show the token. Raises `DemoError` where it is refused."""
        socket = await stack.enter_async_context(
            connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], max_size=None)
        )
        payload = {"Authorization": f"Bearer {token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        if json.loads(await socket.recv())["type"] != "connection_ack":
            raise DemoError("The server did not accept the connection.")
        return cls(socket)

    async def results(
        self, query: str, variables: dict[str, object] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Run an operation and yield what it gives. Raises `DemoError`."""
        self._operations += 1
        payload = {"query": query, "variables": variables or {}}
        message = {"id": str(self._operations), "type": "subscribe", "payload": payload}
        await self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer["type"] == "complete":
                return
            errors = (
                answer["payload"]
                if answer["type"] == "error"
                else answer.get("payload", {}).get("errors")
            )
            if errors:
                raise DemoError(errors[0]["message"])
            if answer["type"] == "next":
                yield answer["payload"]["data"]

    async def result(self, query: str, variables: dict[str, object] | None = None) -> Any:  # noqa: ANN401
        """Run an operation with one result."""
        found = [data async for data in self.results(query, variables)]
        return found[0]


async def demonstrate(client: Client) -> None:
    """Create, run, delete."""
    began = time.perf_counter()
    sandbox = (await client.result(CREATE))["createSandbox"]["sandbox"]
    _say(began, f"createSandbox(start: true): {sandbox['status']}, image {sandbox['image']}")
    try:
        sys.stdout.write("".join(f"    >>> {line}\n" for line in CODE.splitlines()))
        for turn in ("first run", "second run, warm"):
            await _run(client, sandbox["id"], turn)
    finally:
        began = time.perf_counter()
        deleted = await client.result(DELETE, {"id": sandbox["id"]})
        _say(began, f"deleteSandbox: {deleted['deleteSandbox']['deletedSandboxId']}")


async def _run(client: Client, sandbox_id: str, turn: str) -> None:
    sys.stdout.write(f"executeCode, {turn}:\n")
    sent = time.perf_counter()
    async for data in client.results(RUN, {"input": {"sandboxId": sandbox_id, "code": CODE}}):
        event = data["executeCode"]
        shown = {key: value for key, value in event.items() if key not in {"__typename", "seq"}}
        _say(sent, f"{event['seq']:>3} {event['__typename']:<18} {_brief(shown)}")


def _brief(fields: dict[str, object]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())


def _say(since: float, text: str) -> None:
    milliseconds = (time.perf_counter() - since) * 1000
    sys.stdout.write(f"{milliseconds:>9.1f} ms  {text}\n")
    sys.stdout.flush()


async def _connected(url: str, token: str) -> None:
    async with AsyncExitStack() as stack:
        await demonstrate(await Client.open(stack, url, token))


def main() -> int:
    """Demonstrate, or say in one line why not."""
    try:
        settings = Settings.read()
        token = development_token(settings, DEVELOPER, HOUR_SECONDS)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    url = "ws" + settings.base_url.removeprefix("http") + "/graphql"
    try:
        asyncio.run(_connected(url, token))
    except (DemoError, ConnectionClosed) as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1
    except (OSError, WebSocketException) as error:
        sys.stderr.write(f"No server answers at {url}: {error}. `make run` starts one.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
