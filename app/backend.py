"""What the endpoints reach of the running application."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from resolvers.context import Services
from services.auth import TokenVerifier
from services.errors import ServiceUnavailableError
from services.rates import RateLimiter


class Readiness(Protocol):
    """Tells what is missing to serve."""

    async def problems(self) -> Sequence[str]:
        """Say in a line each what is missing; nothing where all is well."""


@dataclass(frozen=True)
class Backend:
    """Everything that the lifespan has opened."""

    services: Services
    verifier: TokenVerifier
    rates: RateLimiter
    readiness: Readiness


class BackendHolder:
    """Where the lifespan puts the backend, and endpoints find it."""

    def __init__(self) -> None:
        self._backend: Backend | None = None
        self.stopping = asyncio.Event()
        """Set as the server is to end, for what would go on without end."""

    def put(self, backend: Backend | None) -> None:
        """Open for requests, or close again."""
        self._backend = backend

    @property
    def backend(self) -> Backend:
        """The running backend. Raises `ServiceUnavailableError` before and after its time."""
        if self._backend is None:
            raise ServiceUnavailableError("The server is starting or stopping: try again.")
        return self._backend
