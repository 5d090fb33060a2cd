"""Writing to a client that may take its time, or nothing at all."""

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

TAKEN_SECONDS = 30.0
"""A client that takes nothing for so long is gone, or as good as gone."""
PIECE_BYTES = 256 * 1024
"""What is written at once: the server keeps as much of what nobody takes."""


class PeerGoneError(Exception):
    """Nobody takes what is written."""


class LargeResponse(Response):
    """An answer that is written piece by piece, so that it is over once it has been taken."""

    def __init__(self, whole: Response, on_end: Callable[[], None]) -> None:
        """Answer as `whole` would; `on_end` is called once nothing of it is kept any more."""
        super().__init__(whole.body, whole.status_code)
        self.raw_headers = whole.raw_headers
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write as much as is taken."""
        del scope, receive
        try:
            await send_head(send, self)
            await write(send, self.body)
            await write(send, b"", more=False)
        except PeerGoneError:
            return
        finally:
            self._on_end()


async def send_head(send: Send, response: Response) -> None:
    """Begin a response. Raises `PeerGoneError`."""
    head = {"type": "http.response.start", "status": response.status_code}
    await _send(send, {**head, "headers": response.raw_headers}, TAKEN_SECONDS)


async def write(
    send: Send, body: bytes | memoryview, seconds: float | None = None, *, more: bool = True
) -> None:
    """Write some of the body. Raises `PeerGoneError`."""
    seconds = TAKEN_SECONDS if seconds is None else seconds
    whole = memoryview(body)
    for start in range(0, max(len(whole), 1), PIECE_BYTES):
        piece = bytes(whole[start : start + PIECE_BYTES])
        last = start + PIECE_BYTES >= len(whole)
        message = {"type": "http.response.body", "body": piece, "more_body": more or not last}
        await _send(send, message, seconds)


async def _send(send: Send, message: Message, seconds: float) -> None:
    """Send one message. Raises `PeerGoneError` where the client does not take it."""
    try:
        async with asyncio.timeout(seconds):
            await send(message)
    except (OSError, RuntimeError, TimeoutError) as error:
        raise PeerGoneError from error
