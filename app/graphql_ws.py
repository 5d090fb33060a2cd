"""GraphQL over a websocket: graphql-transport-ws, by Strawberry's handler.

Ours adds: a token in the first message, limits, and a quiet end where the peer is gone.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.http.exceptions import (
    NonJsonMessageReceived,
    NonTextMessageReceived,
    WebSocketDisconnected,
)
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)
from strawberry.types.unset import UNSET, UnsetType

from app.backend import BackendHolder
from app.connections import Connections
from app.graphql_requests import (
    MAX_DOCUMENT_CHARACTERS,
    VARIABLES_TOO_MANY,
    has_too_many_values,
)
from app.in_flight import InFlight, Take
from app.json_text import TooManyValuesError, decode, encode
from app.tokens import authorization_in, viewer_of
from app.wires import never_began
from ops.api import WEBSOCKET_BYTES
from resolvers.context import Context
from schema.build import Schema
from schema.errors import service_error
from services.entities import UserId, Viewer
from services.errors import PayloadTooLargeError, QuotaExceededError, ServiceError

MAX_MESSAGE_BYTES = WEBSOCKET_BYTES
MAX_OPERATIONS = 100
INIT_WAIT = timedelta(seconds=5)
TOO_LARGE = 1009
FORBIDDEN = 4403
TRY_AGAIN_LATER = 1013
"""Of the codes for too much (RFC 6455, section 7.4), the one after which clients try again."""
REASONS = {
    4401: "Send connection_init, with a token, and wait for connection_ack before you subscribe",
    4406: f"Speak the subprotocol {GRAPHQL_TRANSPORT_WS_PROTOCOL}",
    4408: "There came no connection_init in time",
}
"""What would help, where Strawberry's own reason is but the code's name."""

_log = structlog.get_logger(__name__)


class Socket(ASGIWebSocketAdapter):
    """One websocket's messages."""

    hold: Callable[[], AbstractContextManager[Take]] | None = None
    """Counts what waits to be taken, once it is known whose it is."""

    async def iter_json(
        self,
        *,
        ignore_parsing_errors: bool = False,  # noqa: ARG002 - the legacy protocol's, which is off
    ) -> AsyncGenerator[object, None]:
        """Read messages until the peer leaves."""
        while self.ws.application_state != WebSocketState.DISCONNECTED:
            try:
                message = await self.ws.receive()
            except RuntimeError:
                return
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise NonTextMessageReceived
            if _is_too_long(text):
                await self.close(TOO_LARGE, f"Messages are at most {MAX_MESSAGE_BYTES} bytes")
                return
            try:
                message = decode(text)
            except TooManyValuesError as error:
                await self.close(TOO_LARGE, str(error))
                return
            except ValueError as error:
                raise NonJsonMessageReceived from error
            yield message

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send one message. Raises `WebSocketDisconnected` where nobody is there any more.

        Raises `QuotaExceededError` where too much waits to be taken already.
        """
        if self.ws.application_state == WebSocketState.DISCONNECTED:
            raise WebSocketDisconnected
        text = encode(message).decode()
        if self.hold is None:
            await self._send(text)
            return
        with self.hold() as take:
            take(len(text))
            await self._send(text)

    async def _send(self, text: str) -> None:
        try:
            await self.ws.send_text(text)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        """Close, unless that has been done."""
        if self.ws.application_state == WebSocketState.DISCONNECTED:
            return
        said = REASONS.get(code, reason)
        try:
            # A close frame has room for 123 bytes of reason (RFC 6455, section 5.5).
            await self.ws.close(code, said.encode()[:123].decode(errors="ignore"))
        except (WebSocketDisconnect, RuntimeError, OSError):
            _log.debug("closed_already", code=code)


def _is_too_long(text: str) -> bool:
    # No character has more than four bytes: most messages need not be encoded for it.
    if len(text) * 4 <= MAX_MESSAGE_BYTES:
        return False
    return len(text) > MAX_MESSAGE_BYTES or len(text.encode()) > MAX_MESSAGE_BYTES


def _check_document(message: SubscribeMessage) -> None:
    if len(message["payload"]["query"]) > MAX_DOCUMENT_CHARACTERS:
        raise PayloadTooLargeError(
            f"A document is at most {MAX_DOCUMENT_CHARACTERS} characters, without its variables."
        )
    if has_too_many_values(message["payload"].get("variables")):
        raise PayloadTooLargeError(VARIABLES_TOO_MANY, field="variables")


class Handler(BaseGraphQLTransportWSHandler[Context, None]):
    """The protocol, with messages checked before Strawberry relies on their shape."""

    view: "GraphQLSockets"
    websocket: Socket
    user: UserId | None = None
    """Whose place among the connections this one has."""
    expiry: asyncio.TimerHandle | None = None
    closing: asyncio.Task[None] | None = None

    async def send_message(self, message: Message) -> None:
        """Send it; the first is sent to those alone who may stay."""
        if message["type"] == "connection_ack":
            await self._admit()
        if message["type"] == "next" and never_began(message["payload"]):
            cast("dict[str, object]", message["payload"]).pop("data")
        try:
            await super().send_message(message)
        except QuotaExceededError as error:
            # Not awaited: the close comes behind what is not taken.
            self._close_soon(TRY_AGAIN_LATER, error.message)
            raise WebSocketDisconnected from error

    async def _admit(self) -> None:
        """Let a user in who has not too many already, for as long as the token is good."""
        viewer = self.context.viewer
        if not self.view.connections.take(viewer.id):
            limit = self.view.connections.limit
            await self.websocket.close(TRY_AGAIN_LATER, f"A user has {limit} connections at once")
            raise WebSocketDisconnected
        self.user = viewer.id
        self.websocket.hold = partial(self.view.in_flight.hold, viewer.id)
        seconds = (viewer.expires_at - datetime.now(UTC)).total_seconds()
        self.expiry = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        """Close, so that the client comes back with a new token; executions go on."""
        self._close_soon(FORBIDDEN, "The token has expired")

    def _close_soon(self, code: int, reason: str) -> None:
        if self.closing is None:
            self.closing = asyncio.create_task(self.websocket.close(code, reason), name=reason)

    async def shutdown(self) -> None:
        """Leave nothing behind of a connection that is over."""
        if self.expiry is not None:
            self.expiry.cancel()
        if self.user is not None:
            self.view.connections.give_back(self.user)
        if self.closing is not None:
            await self.closing
        await super().shutdown()

    async def handle_message(self, message: Message) -> None:
        """Refuse what has not the shape of a message with 4400."""
        if problem := _malformed(message):
            await self.handle_invalid_message(problem)
            return
        await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Let in whom the token names; one that is refused closes with 4403 and the reason."""
        try:
            await super().handle_connection_init(message)
        except ServiceError as error:
            await self.websocket.close(FORBIDDEN, error.message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Refuse what is over a limit, or later than the token, for this operation alone."""
        if self.connection_acknowledged and message["id"] not in self.operations:
            try:
                self._check_allowed()
                await self.view.count(self.context.viewer)
                _check_document(message)
            except ServiceError as error:
                payload = [service_error(error).formatted]
                await self.send_message({"id": message["id"], "type": "error", "payload": payload})
                return
        await super().handle_subscribe(message)

    def _check_allowed(self) -> None:
        self.context.viewer  # noqa: B018 - raises once the token has expired
        if len(self.operations) >= MAX_OPERATIONS:
            raise QuotaExceededError(
                f"A websocket takes {MAX_OPERATIONS} operations at once.",
                limit="operationsPerWebsocket",
            )

    async def handle_task_exception(self, error: Exception) -> None:
        """Log what a task did not handle; a peer that has left is nothing to log."""
        if not isinstance(error, WebSocketDisconnected):
            _log.error("websocket_task_failed", exc_info=error)


def _malformed(message: object) -> str | None:
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "Messages are objects with a type"
    if message["type"] not in {"subscribe", "complete"}:
        return None
    if not isinstance(message.get("id"), str) or not message["id"]:
        return "The id is a string that is not empty"
    return _malformed_payload(message.get("payload")) if message["type"] == "subscribe" else None


def _malformed_payload(payload: object) -> str | None:
    if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
        return "The payload is an object with a query"
    if not isinstance(payload.get("operationName"), str | None):
        return "operationName is a string"
    if not isinstance(payload.get("variables"), dict | None):
        return "variables is an object"
    return None


class GraphQLSockets(GraphQL[Context, None]):
    """Answers the websocket at /graphql."""

    websocket_adapter_class = Socket
    graphql_transport_ws_handler_class = Handler

    def __init__(
        self,
        schema: Schema,
        holder: BackendHolder,
        allowed_origins: Iterable[str],
        connections: Connections,
        in_flight: InFlight,
    ) -> None:
        self.connections = connections
        self.in_flight = in_flight
        super().__init__(
            schema,
            graphql_ide=None,
            allow_queries_via_get=False,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=INIT_WAIT,
            max_subscriptions_per_connection=None,
            allowed_origins=tuple(allowed_origins),
        )
        self._holder = holder

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        """Begin without a user: the first message names one."""
        del response
        return Context(self._holder.backend.services, request.state.request_id)

    async def count(self, viewer: Viewer) -> None:
        """Count one operation of a user's. Raises `RateLimitedError`."""
        await self._holder.backend.rates.take(viewer.id)

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        """Verify the token of the first message. Raises `ServiceError` where it is refused."""
        authorization = authorization_in(context.connection_params)
        context.verified = await viewer_of(self._holder.backend, authorization)
        return cast("UnsetType", UNSET)
