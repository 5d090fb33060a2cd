"""Subscriptions without a websocket: a response that goes on until the operation ends."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, suppress
from contextvars import copy_context
from datetime import UTC, datetime
from http import HTTPStatus

from graphql import GraphQLError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.types import ExecutionResult

from app.in_flight import Take
from app.wires import Answer, Wire, answer_of
from app.writing import PeerGoneError, send_head, write
from schema.errors import client_error
from services.auth import expiry_refusal

HEARTBEAT_SECONDS = 12.0
"""Of silence: proxies and browsers cut what is silent for longer, and a dead peer is noticed."""

LAST_SECONDS = 2.0
ENDED = object()

Results = AsyncGenerator[object, None]
"""Of `ExecutionResult` alone: increments, which Strawberry has types for, are not delivered."""
OpenResults = Callable[[], Awaitable[Results]]


class StreamResponse(Response):
    """Writes results as they come. The client's leaving closes their source at once."""

    def __init__(
        self,
        wire: Wire,
        open_results: OpenResults,
        *,
        expires_at: datetime,
        stopping: asyncio.Event,
        hold: Callable[[], AbstractContextManager[Take]],
        on_end: Callable[[], None],
    ) -> None:
        """Nothing is opened yet. `stopping` is the server's end, `expires_at` the token's.

        `hold` counts what waits to be taken.
        """
        super().__init__(status_code=HTTPStatus.OK)
        self.init_headers(
            {
                "Content-Type": wire.media_type,
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                # nginx collects what comes slowly unless it is told not to.
                "X-Accel-Buffering": "no",
            }
        )
        del self.headers["content-length"]
        self._wire = wire
        self._open_results = open_results
        self._expires_at = expires_at
        self._stopping = stopping
        self._hold = hold
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the operation, the token, the client or the server comes to its end."""
        del scope
        try:
            await self._serve(receive, send)
        finally:
            self._on_end()

    async def _serve(self, receive: Receive, send: Send) -> None:
        try:
            await send_head(send, self)
        except PeerGoneError:
            return
        work = {
            "stream": asyncio.create_task(self._stream(send)),
            "client": asyncio.create_task(_left(receive)),
            "server": asyncio.create_task(self._stopping.wait()),
        }
        try:
            seconds = max(0.0, (self._expires_at - datetime.now(UTC)).total_seconds())
            ended, _ = await asyncio.wait(
                work.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in work.values():
                task.cancel()
            await asyncio.gather(*work.values(), return_exceptions=True)
        last = b""
        if not ended:
            last = self._wire.result(_told(expiry_refusal())) + self._wire.end
        elif work["stream"] in ended and (fault := work["stream"].exception()):
            if isinstance(fault, PeerGoneError):
                return
            last = self._wire.result(_told(fault)) + self._wire.end
        if work["client"] not in ended:
            with suppress(PeerGoneError):
                await write(send, last, LAST_SECONDS, more=False)

    async def _stream(self, send: Send) -> None:
        await write(send, self._wire.start)
        async with (
            aclosing(await self._open_results()) as results,
            # Closed first: results that are being waited for can't be closed.
            aclosing(_with_heartbeats(results, self._wire.heartbeat)) as pieces,
        ):
            async for piece in pieces:
                data = piece if isinstance(piece, bytes) else self._wire.result(_checked(piece))
                with self._hold() as take:
                    take(len(data))
                    await write(send, data)
        await write(send, self._wire.end)


async def _next(results: Results) -> object:
    try:
        return await anext(results)
    except StopAsyncIteration:
        return ENDED


async def _with_heartbeats(results: Results, heartbeat: bytes) -> AsyncGenerator[object, None]:
    """Yield results, and the heartbeat where there is none for a while."""
    coming: asyncio.Task[object] | None = None
    # One for all of an operation's steps, which find in it what the first has put there.
    context = copy_context()
    try:
        while True:
            coming = coming or asyncio.create_task(_next(results), context=context)
            done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT_SECONDS)
            if not done:
                yield heartbeat
                continue
            result, coming = coming.result(), None
            if result is ENDED:
                return
            yield result
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def _checked(result: object) -> Answer:
    if not isinstance(result, ExecutionResult):
        msg = f"a stream of {type(result).__name__}"
        raise TypeError(msg)
    return answer_of(result)


def _told(fault: BaseException) -> Answer:
    """Say what ended the stream from outside the operation; what is not ours is masked."""
    error = GraphQLError(str(fault), original_error=fault if isinstance(fault, Exception) else None)
    return {"data": None, "errors": [client_error(error).formatted]}


async def _left(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
