"""A real server around an application, in the tests' own loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from app.protocols import HttpProtocol, WebSocketProtocol
from ops.api import WEBSOCKET_BYTES

PROTOCOL = "graphql-transport-ws"


@asynccontextmanager
async def serving(
    app: ASGIApp, host: str = "127.0.0.1", *, ping_seconds: float = 20.0
) -> AsyncIterator[str]:
    """Serve on a free port and yield the loopback address; ends as on SIGTERM."""
    config = uvicorn.Config(
        app,
        host=host,
        port=0,
        log_config=None,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=WEBSOCKET_BYTES,
        ws_ping_interval=ping_seconds,
        ws_ping_timeout=ping_seconds,
        ws_per_message_deflate=False,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            await task
            raise RuntimeError("The server did not start.")
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


class Socket:
    """A client of graphql-transport-ws that shows every message."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: object) -> None:
        """Send one message."""
        await self.connection.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """Receive one message, within five seconds."""
        async with asyncio.timeout(5):
            message: dict[str, Any] = json.loads(await self.connection.recv())
            return message

    async def subscribe(self, query: str, variables: object = None, name: str = "1") -> None:
        """Begin an operation."""
        payload = {"query": query, "variables": variables}
        await self.send({"id": name, "type": "subscribe", "payload": payload})

    async def until_end(self, name: str = "1") -> list[dict[str, Any]]:
        """Receive an operation's messages, the last one included."""
        messages = []
        while True:
            message = await self.receive()
            if message.get("id") == name:
                messages.append(message)
                if message["type"] in {"complete", "error"}:
                    return messages

    async def closed(self) -> tuple[int, str]:
        """Wait for the close, within five seconds; return code and reason."""
        async with asyncio.timeout(5):
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def socket(
    url: str, *, params: object = None, origin: str | None = None, protocol: str = PROTOCOL
) -> AsyncIterator[Socket]:
    """Open a websocket; with `params` it is initialised too."""
    address = url.replace("http", "ws", 1) + "/graphql"
    async with connect(
        address,
        subprotocols=[Subprotocol(protocol)],
        origin=None if origin is None else Origin(origin),
        max_size=None,
    ) as connection:
        client = Socket(connection)
        if params is not None:
            await client.send({"type": "connection_init", "payload": params})
        yield client
