"""Request bodies, no larger than they may be, from clients that go on sending."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import ClientDisconnect, Request

from app.in_flight import Take
from services.errors import PayloadTooLargeError

SILENT_SECONDS = 30.0
"""A client that sends nothing of its body for so long is taken for gone."""


def check_length(request: Request, limit: int) -> None:
    """Refuse by the announced length, before anything is read. Raises `PayloadTooLargeError`."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


async def read_body(request: Request, limit: int, take: Take) -> bytes:
    """Read a body of at most `limit` bytes, each of them taken first.

    Raises `PayloadTooLargeError`, `ClientDisconnect` and what `take` does.
    """
    check_length(request, limit)
    # In one block, which goes back to the system as a whole.
    body = bytearray()
    async for chunk in chunks(request):
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        take(len(chunk))
        body += chunk
    return bytes(body)


async def chunks(request: Request) -> AsyncGenerator[bytes, None]:
    """Pass a body on as it comes. Raises `ClientDisconnect`, of silent clients too."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise ClientDisconnect from None
        if chunk:
            yield chunk


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is over {limit} bytes.", limitBytes=limit)
