"""Short transactions, and the one place where a silent database becomes the product's error."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from db.engine import Database
from db.sessions import ServiceSession, TenantCall, TenantSession
from services.entities import Viewer
from services.translate import database_errors


class Transactions:
    """Begins transactions; each ends with its `async with`, and none is held across a `yield`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def at_hand(self) -> bool:
        """Whether the database can be asked at once, as far as is known."""
        return self._database.at_hand

    @asynccontextmanager
    async def of(self, viewer: Viewer, *, serialized: bool = False) -> AsyncIterator[TenantSession]:
        """Begin one with the viewer's rights; serialized ones of one user wait for each other.

        Raises `ServiceUnavailableError`.
        """
        with database_errors():
            async with self._database.tenant_session(
                viewer.claims, serialized=serialized
            ) as session:
                yield session

    async def call[T](self, viewer: Viewer, carry_out: Callable[[TenantCall], Awaitable[T]]) -> T:
        """Carry out one statement with the viewer's rights; see `Database.call_as_tenant`.

        Raises `ServiceUnavailableError`.
        """
        with database_errors():
            return await self._database.call_as_tenant(viewer.claims, carry_out)

    @asynccontextmanager
    async def background(self) -> AsyncIterator[ServiceSession]:
        """Begin one of background work, which sees every tenant. Raises as `of`."""
        with database_errors():
            async with self._database.service_session() as session:
                yield session
