"""Which pages may call: those of the same origin, and those that the operator allows."""

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.http.websocket_origin import (
    is_same_origin,
    normalize_allowed_origins,
    normalize_origin,
)

METHODS = "GET, HEAD, POST, PUT"
REQUEST_HEADERS = "authorization, content-type, if-range, range, x-request-id"
RESPONSE_HEADERS = (
    "accept-ranges, content-disposition, content-length, content-range, etag, retry-after, "
    "x-request-id"
)
PREFLIGHT_SECONDS = 600


class Origins:
    """Answers preflights, and lets allowed pages read answers.

    Tokens travel in a header that no browser adds by itself, so nothing here guards against
    forged requests; it keeps other pages from reading. Websockets are checked by their
    endpoint, by the same rule.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = normalize_allowed_origins(tuple(allowed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is no cross-origin HTTP request as it is."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if scope["type"] != "http" or origin is None:
            await self._app(scope, receive, send)
            return
        allowed = normalize_origin(origin) in self._allowed
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            response = _preflight(
                origin, allowed=allowed or is_same_origin(origin, headers.get("host"))
            )
            await response(scope, receive, send)
            return

        async def readable_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered.add_vary_header("Origin")
                if allowed:
                    answered["Access-Control-Allow-Origin"] = origin
                    answered["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
            await send(message)

        await self._app(scope, receive, readable_send)


def _preflight(origin: str, *, allowed: bool) -> Response:
    if not allowed:
        return PlainTextResponse(
            "This origin is not allowed: see ALLOWED_ORIGINS.",
            status_code=403,
            headers={"Vary": "Origin"},
        )
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Origin",
        },
    )
