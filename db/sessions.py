"""Two kinds of session, so that one can't be given where the other is meant."""

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


class TenantSession(DatabaseSession):
    """A user's transaction: row-level security shows it that user's rows alone."""


class ServiceSession(DatabaseSession):
    """A transaction of background work, which sees every tenant's rows."""
