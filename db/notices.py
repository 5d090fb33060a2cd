"""Word of what other processes change, by LISTEN and NOTIFY over a connection of its own."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID, uuid4

import asyncpg
import structlog

from db.addresses import parse_address
from db.engine import Database
from db.errors import DatabaseError

SANDBOXES = "sandbox_api_sandboxes"
"""The channel that the triggers of the migrations tell a sandbox's owner on."""
ECHOES = "sandbox_api_echoes"
ECHO_SECONDS = 5.0
"""How long word may take, from any connection to ours."""
PROBE_SECONDS = 15.0
"""How often it is tried whether word still comes: a connection may die without one."""
RETRY_SECONDS = 1.0
FAULTS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    DatabaseError,
)

_log = structlog.get_logger(__name__)


class Hearer(Protocol):
    """Who is told."""

    def heard(self, owner_id: UUID) -> None:
        """Something of this owner's has changed."""

    def follow(self, *, complete: bool) -> None:
        """From now on every change is told; or none is, and some may have been missed."""


class Notices:
    """Listens while it is entered, and finds its way back by itself.

    `url` has to lead to the server itself. A pooler that gives connections by the transaction
    takes a LISTEN and delivers nothing: so it is tried, by word from another connection.
    """

    def __init__(self, url: str, database: Database, hearer: Hearer) -> None:
        self._dsn = parse_address(url).dsn
        self._database = database
        self._hearer = hearer
        self._task: asyncio.Task[None] | None = None
        self._echo = asyncio.Event()
        self._awaited = ""
        self._following: bool | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Listen no more; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except FAULTS as error:
                self._follow(complete=False, reason=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        """Tell the hearer until the connection ends. Raises one of `FAULTS` then."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=ECHO_SECONDS,
            command_timeout=ECHO_SECONDS,
            statement_cache_size=0,
            server_settings={"application_name": "sandbox-api notices"},
        )
        try:
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(SANDBOXES, self._heard)
            await connection.add_listener(ECHOES, self._echoed)
            while not ended.is_set():
                await self._probe()
                self._follow(complete=True)
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await ended.wait()
            raise ConnectionResetError
        finally:
            # Without a word: nothing waits for it, and the server may be gone.
            connection.terminate()

    async def _probe(self) -> None:
        """Raises `TimeoutError` where word of another connection does not come."""
        self._awaited = uuid4().hex
        self._echo.clear()
        async with asyncio.timeout(ECHO_SECONDS):
            async with self._database.service_session() as session:
                await session.fetch_row("SELECT pg_notify($1, $2)", ECHOES, self._awaited)
            await self._echo.wait()

    def _heard(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        try:
            owner = UUID(str(payload))
        except ValueError:
            # Whoever may connect to this database may say anything.
            _log.warning("notice_of_no_owner")
            return
        self._hearer.heard(owner)

    def _echoed(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        if payload == self._awaited:
            self._echo.set()

    def _follow(self, *, complete: bool, reason: str | None = None) -> None:
        if complete == self._following:
            return
        self._following = complete
        self._hearer.follow(complete=complete)
        if complete:
            _log.info("changes_are_heard")
        else:
            _log.warning("changes_are_not_heard", reason=reason, instead="polls each second")
