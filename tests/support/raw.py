"""Connections byte by byte, for peers that do what no library does."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "graphql-transport-ws",
}
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NO_STATUS, NO_CLOSE = 1005, 1006
MEDIUM = 126
"""From here on a frame's length takes two bytes more, or eight."""
SECONDS = 20.0
PART_BYTES = 65_536
SMALL_BUFFER = 4096


@dataclass
class Raw:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write; raises `ConnectionError` where nobody takes it any more."""
        self.writer.write(data)
        await self.writer.drain()

    async def ended(self) -> bytes:
        """Read all that comes until the server closes, within seconds."""
        came = b""
        async with asyncio.timeout(SECONDS):
            # A server that closes with something unread resets the connection.
            with suppress(ConnectionError):
                while part := await self.reader.read(PART_BYTES):
                    came += part
        return came

    async def head(self) -> bytes:
        """Read the head of an answer."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def pour(self, data: bytes, times: int) -> int:
        """Send it so many times, or until the server closes; return how many bytes went."""
        sent = 0
        with suppress(ConnectionError):
            for _ in range(times):
                await self.send(data)
                sent += len(data)
        return sent

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame; return its opcode and what it holds."""
        async with asyncio.timeout(SECONDS):
            first, size = await self.reader.readexactly(2)
            if size >= MEDIUM:
                size = int.from_bytes(await self.reader.readexactly(2 if size == MEDIUM else 8))
            return first & 15, await self.reader.readexactly(size)

    async def text(self) -> dict[str, Any]:
        """Read one message."""
        opcode, payload = await self.frame()
        assert opcode == TEXT, payload
        read: dict[str, Any] = json.loads(payload)
        return read

    async def frames(self) -> list[tuple[int, bytes]]:
        """Read frames until a close, or until the server closes without one."""
        read = []
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                read.append(await self.frame())
                if read[-1][0] == CLOSE:
                    break
        return read

    async def closed(self) -> int:
        """Read until a close; return its code, 1005 where it has none, 1006 where none comes."""
        opcode, payload = ((await self.frames()) or [(TEXT, b"")])[-1]
        if opcode != CLOSE:
            return NO_CLOSE
        return int.from_bytes(payload[:2]) if payload else NO_STATUS


def request(
    path: str = "/graphql",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    host: str = "api.example",
) -> bytes:
    """Write the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def posting(authorization: str, length: int, more: Mapping[str, str] | None = None) -> bytes:
    """Write the head of an operation whose body is so long."""
    headers = {
        **(more or {}),
        "Authorization": authorization,
        "Content-Type": "application/json",
        "Content-Length": str(length),
    }
    return request(headers=headers, method="POST")


def frame(opcode: int, payload: bytes = b"", *, first: int = 128, mask: bool = True) -> bytes:
    """Write a frame (RFC 6455, section 5.2); `first` has FIN and what is reserved."""
    size, flag = len(payload), 128 if mask else 0
    if size < MEDIUM:
        length = bytes([flag | size])
    elif size < 65_536:
        length = bytes([flag | MEDIUM]) + size.to_bytes(2)
    else:
        length = bytes([flag | 127]) + size.to_bytes(8)
    if not mask:
        return bytes([first | opcode]) + length + payload
    # Of zeroes, under which a payload is as it was.
    return bytes([first | opcode]) + length + bytes(4) + payload


def message(**values: object) -> bytes:
    """Write a message of graphql-transport-ws as a frame."""
    return frame(TEXT, json.dumps(values).encode())


@asynccontextmanager
async def connected(url: str, *, buffer: int | None = None) -> AsyncIterator[Raw]:
    """Have a connection; `buffer` is how much the kernel takes that is not read."""
    address = urlsplit(url)
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.setblocking(False)  # noqa: FBT003 - the library's own
    place = (address.hostname, address.port)
    await asyncio.get_running_loop().sock_connect(connection, place)
    reader, writer = await asyncio.open_connection(sock=connection, limit=PART_BYTES)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError, BrokenPipeError):
            await writer.wait_closed()


@asynccontextmanager
async def shaken(
    url: str, headers: Mapping[str, str] | None = None, *, buffer: int | None = None
) -> AsyncIterator[Raw]:
    """Have a websocket that has said nothing yet; `buffer` as `connected` has it."""
    async with connected(url, buffer=buffer) as raw:
        await raw.send(request(headers={**HANDSHAKE, **(headers or {})}))
        assert b" 101 " in await raw.head()
        yield raw
