"""uvicorn's protocols, with bounds on what a peer may begin and not finish.

uvicorn leaves these to a proxy. Without one, a head without end fills the memory, one that
never comes keeps a descriptor, and what nobody takes is kept for as long as the peer likes:
all of it before any token is seen, or without one.
"""

import asyncio
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

HEAD_BYTES = 128 * 1024
"""Of a request's line and headers, or of trailers, with room for what was read along."""
HEAD_SECONDS = 30.0
"""From the first byte that is awaited to the last header."""
UNTAKEN_SECONDS = 60.0
"""A peer that takes nothing of what waits for it for so long is cut off."""
LARGE_MESSAGE_BYTES = 256 * 1024
PROTOCOL_ERROR, INVALID_TEXT = 1002, 1007
"""No frames, and text that is no UTF-8 (RFC 6455, section 7.4.1)."""
LINGER_SECONDS = 1.0


class HttpProtocol(HttpToolsProtocol):
    """A connection until it has become a websocket."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._unparsed = 0
        """Bytes since the parser last told of a whole head or of a part of a body."""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Expect the first head."""
        super().connection_made(transport)
        _cut_off_who_takes_nothing(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, as long as what is begun stays within its bounds."""
        if not self._is_answering():
            self._expect_head()
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._unparsed = 0
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(
                HEAD_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT
            )

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus) -> None:
        self._head_came()
        if self.transport.is_closing():
            return
        if not self._is_answering():
            self.transport.write(_bare_answer(status))
        self.transport.close()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A connection that has become a websocket; it goes on in the transport of the first."""

    def data_received(self, data: bytes) -> None:
        """Take frames; a handshake that can't be read is told, where uvicorn says nothing."""
        super().data_received(data)
        unread = self.conn.handshake_exc is not None and not self.handshake_initiated
        if unread and not self.transport.is_closing():
            self.transport.write(_bare_answer(HTTPStatus.BAD_REQUEST))
            self.transport.close()

    def handle_parser_exception(self) -> None:
        """Close with the protocol's code, and read on for a moment, so that it arrives.

        A connection that is closed with something unread is reset, which may overtake the code.
        """
        if self.close_sent:
            return
        sent = self.conn.close_sent
        code, reason = (PROTOCOL_ERROR, "") if sent is None else (sent.code, sent.reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; one that is no text closes without a traceback."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                # Where a close came right behind it, that is answered instead.
                if self.conn.state is State.OPEN:
                    self.conn.send_close(INVALID_TEXT)
                    self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message; a large one is sent once it has been taken, not once it is kept."""
        await super().send(message)
        text = message.get("text")
        if isinstance(text, str) and len(text) > LARGE_MESSAGE_BYTES:
            await self.writable.wait()


def _cut_off_who_takes_nothing(transport: asyncio.Transport) -> None:
    """Have the kernel do it (tcp(7), TCP_USER_TIMEOUT): closing would wait for the peer too."""
    connection = transport.get_extra_info("socket")
    # Of a Unix socket, say, which has no such option.
    with suppress(OSError, AttributeError):
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNTAKEN_SECONDS * 1000)
        )


def _bare_answer(status: HTTPStatus) -> bytes:
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ).encode()
