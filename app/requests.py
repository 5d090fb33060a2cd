"""A request's id, and its line in the log."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9._-]{8,128}")
_QUIET = ("/health", "/ready", "/static/")

_log = structlog.get_logger(__name__)


class RequestIds:
    """Gives each request and each websocket an id, in its log lines and in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the client's id where it is sane, else make one."""
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _SANE.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._logged(scope, receive, send, request_id)

    async def _logged(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        began = time.perf_counter()
        status = 0

        async def marked_send(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.accept"}:
                status = int(message.get("status", 101))
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, marked_send)
        finally:
            path = shown_path(scope["path"])
            level = _log.debug if path.startswith(_QUIET) else _log.info
            level(
                "request",
                method=scope.get("method", "WEBSOCKET"),
                path=path,
                status=status,
                milliseconds=round((time.perf_counter() - began) * 1000, 1),
            )


def shown_path(path: str) -> str:
    """Return a path without what is secret in it: a signature gives access to a file."""
    return "/files/..." if path.startswith("/files/") else path
