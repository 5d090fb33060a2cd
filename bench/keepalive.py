"""A client of HTTP/1.1 that costs little: requests as bytes, over connections that stay open."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_OK = b"HTTP/1.1 200 "
_END = b"\r\n\r\n"


class AnswerError(Exception):
    """An answer that is none to count."""


class KeptConnection:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> "AsyncIterator[KeptConnection]":
        """Connect to the server of this address."""
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the answer's body. Raises `AnswerError`."""
        self._writer.write(request)
        head = await self._reader.readuntil(_END)
        found = _LENGTH.search(head)
        body = b"" if found is None else await self._reader.readexactly(int(found[1]))
        if not head.startswith(_OK):
            raise AnswerError((head + body).decode(errors="replace"))
        return body


@asynccontextmanager
async def connections(url: str, number: int) -> AsyncIterator[list[KeptConnection]]:
    """Open so many."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(KeptConnection.opened(url)) for _ in range(number)]


def posted(path: str, query: str, token: str) -> bytes:
    """Write a GraphQL request."""
    body = json.dumps({"query": query}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def data_of(body: bytes) -> Any:  # noqa: ANN401 - GraphQL's data may be anything
    """Return an answer's data. Raises `AnswerError` where there are errors."""
    answer = json.loads(body)
    if answer.get("errors"):
        raise AnswerError(body.decode())
    return answer["data"]
