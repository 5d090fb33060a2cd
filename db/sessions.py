"""Two kinds of session, so that one can't be given where the other is meant."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

type DriverConnection = asyncpg.Connection[asyncpg.Record]


class DatabaseSession(AsyncSession):
    """One transaction; it ends where the context that gave it does, not by `commit()`."""

    def __init__(self, connection: AsyncConnection, driver: DriverConnection) -> None:
        super().__init__(bind=connection, expire_on_commit=False)
        self._driver = driver

    async def fetch_row(self, statement: str, *values: Any) -> asyncpg.Record | None:  # noqa: ANN401 # asyncpg encodes by the statement's own types
        """Run one statement of the hot path without the ORM's share; `$1` stands for a value."""
        return await self._driver.fetchrow(statement, *values)

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of values, all in one round trip."""
        await self._driver.executemany(statement, rows)


class TenantCall:
    """A transaction that is one statement, for a function which takes the user's rights on.

    Such a function's first two parameters are the claims, as JSON text, and the number of the
    lock by which the user's transactions wait for each other.
    """

    def __init__(self, driver: DriverConnection, claims: str, lock: int) -> None:
        self._driver = driver
        self._first = (claims, lock)

    async def fetch_row(self, statement: str, *values: Any) -> asyncpg.Record | None:  # noqa: ANN401 # as above
        """Run it; `$1` and `$2` are given, the values come after them."""
        return await self._driver.fetchrow(statement, *self._first, *values)


class TenantSession(DatabaseSession):
    """A user's transaction: row-level security shows it that user's rows alone."""


class ServiceSession(DatabaseSession):
    """A transaction of background work, which sees every tenant's rows."""
