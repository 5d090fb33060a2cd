"""The ASGI application: opens everything at its start, closes it at its end."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app.backend import Backend, BackendHolder
from app.settings import SettingsError
from app.stopping import told_of_the_end

type OpenBackend = Callable[[], AbstractAsyncContextManager[Backend]]

_log = structlog.get_logger(__name__)


class Application:
    """Routes requests, between a start and an end of its own."""

    def __init__(self, routes: ASGIApp, holder: BackendHolder, open_backend: OpenBackend) -> None:
        self._routes = routes
        self._holder = holder
        self._open = open_backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or take part in the lifespan protocol."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._routes(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Report a start that settings forbid in one line, without a traceback."""
        await receive()
        started = False
        try:
            async with self._open() as backend:
                self._holder.put(backend)
                started = True
                with told_of_the_end(self._holder.stopping):
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                self._holder.put(None)
        except SettingsError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        except Exception:  # noqa: BLE001 - told to the server by the protocol, not by raising
            _log.exception("lifespan_failed")
            stage = "shutdown" if started else "startup"
            await send({"type": f"lifespan.{stage}.failed", "message": ""})
        else:
            await send({"type": "lifespan.shutdown.complete"})
