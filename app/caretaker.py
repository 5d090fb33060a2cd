"""Brings the tables up to date, and only then lets the keeper keep house."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

import structlog

from app.settings import SettingsError
from db.errors import AddressError, DatabaseUnavailableError, MigrationError
from db.migrate import upgrade
from services.keeper import Keeper

RETRY_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Caretaker:
    """Migrates at the start; in production a database that is down is waited for.

    Several processes may do so at once: the migration takes a lock, the keeper a lease.
    """

    def __init__(self, url: str, keeper: Keeper, *, patient: bool) -> None:
        self._url = url
        self._keeper = keeper
        self._patient = patient
        self._stack = AsyncExitStack()
        self._waiting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin. Raises `SettingsError` where the database can't be used as it is."""
        try:
            await self._begin()
        except DatabaseUnavailableError as error:
            if not self._patient:
                raise SettingsError(f"{error} `make setup` starts one.") from error
            _log.warning("database_down_at_start", reason=str(error))
            self._waiting = asyncio.create_task(self._wait())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop waiting, and stop the keeper."""
        if self._waiting is not None:
            self._waiting.cancel()
            with suppress(asyncio.CancelledError):
                await self._waiting
        await self._stack.aclose()

    async def problems(self) -> Sequence[str]:
        """Say whether the tables are still to be made."""
        waiting = self._waiting
        if waiting is None or (waiting.done() and waiting.exception() is None):
            return ()
        return ("its tables are not up to date: it has not answered yet",)

    async def _wait(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(DatabaseUnavailableError):
                try:
                    await self._begin()
                except SettingsError as error:
                    _log.error("migration_failed", reason=str(error))
                    continue
                _log.info("database_is_there")
                return

    async def _begin(self) -> None:
        try:
            await upgrade(self._url)
        except (AddressError, MigrationError) as error:
            raise SettingsError(str(error)) from error
        await self._stack.enter_async_context(self._keeper)
