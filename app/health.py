"""/health: the process is up. /ready: so is everything that it needs."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.backend import BackendHolder
from services.errors import ServiceError

KEPT_SECONDS = 10.0
CHECK_SECONDS = 8.0

type Check = Callable[[], Awaitable[Sequence[str]]]


class Checks:
    """Asks everything that a request needs, not more often than every ten seconds."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._lock = asyncio.Lock()
        self._found: Sequence[str] = ()
        self._asked_at = -KEPT_SECONDS

    async def problems(self) -> Sequence[str]:
        """Say what is missing; several who ask at once share one answer."""
        async with self._lock:
            if time.monotonic() - self._asked_at >= KEPT_SECONDS:
                results = await asyncio.gather(
                    *(_ask(name, check) for name, check in self._checks.items())
                )
                self._found = [line for lines in results for line in lines]
                self._asked_at = time.monotonic()
            return self._found


async def _ask(name: str, check: Check) -> list[str]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return [f"{name}: {problem}" for problem in await check()]
    except TimeoutError:
        return [f"{name}: no answer within {CHECK_SECONDS:g} s"]


async def health(_request: Request) -> Response:
    """Answer as long as the process does."""
    return JSONResponse({"status": "ok"})


class Ready:
    """Answers GET /ready."""

    def __init__(self, holder: BackendHolder) -> None:
        self._holder = holder

    async def serve(self, _request: Request) -> Response:
        """Say 200, or 503 and what is missing."""
        try:
            missing = await self._holder.backend.readiness.problems()
        except ServiceError as error:
            missing = [error.message]
        if missing:
            return JSONResponse({"status": "unavailable", "missing": list(missing)}, 503)
        return JSONResponse({"status": "ready"})
