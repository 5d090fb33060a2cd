"""The pool of connections, and transactions that begin with somebody's rights.

A transaction takes three round trips with one statement in it: SQLAlchemy's own `BEGIN` is
left out (its connections are in autocommit), so that `BEGIN`, the role and the claims go in
one message of the simple protocol.
"""

import functools
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from db.addresses import parse_address
from db.errors import TransactionAbortedError
from db.faults import faults_named, is_lost
from db.sessions import (
    DatabaseSession,
    DriverConnection,
    ServiceSession,
    TenantCall,
    TenantSession,
)

_WORKED = "sandbox_api.worked"
KEPT = 2
"""Connections that single calls keep, for to check one out takes a third of such a call."""

# A process that hangs or is cut off must not keep a lock for others to wait at.
LIMITS = (
    "set_config('lock_timeout', '10s', true), "
    "set_config('idle_in_transaction_session_timeout', '60s', true)"
)


class Database:
    """All connections of one process to one database; opened lazily, closed with `aclose`.

    `pooler` says that a transaction pooler answers at the address; left out, it is told by
    the address (port 6543, or `?pgbouncer=true`). Times are seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pooler: bool | None = None,
        connect_timeout: float = 5.0,
        checkout_timeout: float = 10.0,
        command_timeout: float = 30.0,
    ) -> None:
        address = parse_address(url)
        self._engine = _make_engine(
            address.dsn,
            pooler=address.pooler if pooler is None else pooler,
            pool_size=pool_size,
            checkout_timeout=checkout_timeout,
            timeout=connect_timeout,
            command_timeout=command_timeout,
        )
        self._kept: list[AsyncConnection] = []
        self._most_kept = min(KEPT, pool_size - 1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pool's connections; idempotent."""
        while self._kept:
            await self._kept.pop().close()
        await self._engine.dispose()

    def tenant_session(
        self, claims: Mapping[str, Any], *, serialized: bool = False
    ) -> AbstractAsyncContextManager[TenantSession]:
        """Begin a transaction as the user whose verified claims these are (`sub` among them).

        It commits on a normal end and rolls back on an error. `serialized` makes it wait
        until no other serialized one of this user's runs: what it counts stays true until
        its end. Raises `DatabaseUnavailableError`.
        """
        prologue = _prologue("authenticated", claims)
        if serialized:
            prologue += f"; SELECT pg_advisory_xact_lock({_lock_number(claims)})"
        return self._transaction(TenantSession, prologue)

    async def call_as_tenant[T](
        self, claims: Mapping[str, Any], carry_out: Callable[[TenantCall], Awaitable[T]]
    ) -> T:
        """Carry out one statement that is a transaction of its own, in one round trip.

        It must bear being carried out twice: where a connection of the pool's turns out to be
        lost, it is done again over another. Raises `DatabaseUnavailableError`.
        """
        text, lock = _claims_text(claims), _lock_number(claims)

        async def carry(driver: DriverConnection) -> T:
            return await carry_out(TenantCall(driver, text, lock))

        with faults_named():
            kept = self._kept.pop() if self._kept else None
            connection, found = await self._first_on(carry, kept)
            if len(self._kept) < self._most_kept:
                self._kept.append(connection)
            else:
                await connection.close()
            return found

    @property
    def at_hand(self) -> bool:
        """Whether a connection is there and free for a single call, as far as is known at once."""
        return bool(self._kept) and not _driver_of(self._kept[-1])[0].is_closed()

    def service_session(self) -> AbstractAsyncContextManager[ServiceSession]:
        """Begin a transaction of background work. Raises `DatabaseUnavailableError`."""
        return self._transaction(ServiceSession, _prologue("service_role", {}))

    async def ping(self) -> None:
        """Ask the database for a sign of life. Raises `DatabaseUnavailableError`."""
        async with self.service_session():
            pass

    @asynccontextmanager
    async def _transaction[S: DatabaseSession](
        self, kind: type[S], prologue: str
    ) -> AsyncIterator[S]:
        with faults_named():
            connection, driver = await self._begin(prologue)
            session = kind(connection, driver)
            try:
                yield session
                await session.flush()
                await _commit(driver)
            except Exception:
                await _roll_back(connection, driver)
                raise
            finally:
                await session.close()
                # A task that was cancelled leaves here with its transaction open, and may
                # not wait any more: the connection is dropped without a word to the server.
                if driver.is_closed() or driver.is_in_transaction():
                    _drop(connection)
                await connection.close()

    async def _begin(self, prologue: str) -> tuple[AsyncConnection, DriverConnection]:
        async def begin(driver: DriverConnection) -> DriverConnection:
            await driver.execute(prologue)
            return driver

        return await self._first_on(begin)

    async def _first_on[T](
        self,
        ask: Callable[[DriverConnection], Awaitable[T]],
        kept: AsyncConnection | None = None,
    ) -> tuple[AsyncConnection, T]:
        """Ask the first thing of a connection, of a kept one to begin with; return both."""
        while True:
            connection, kept = kept or await self._engine.connect(), None
            driver, info = _driver_of(connection)
            # One that worked before may have died since, with the server; a new one tells.
            worked = bool(info.get(_WORKED))
            try:
                answer = await ask(driver)
                info[_WORKED] = True
                return connection, answer
            except BaseException as fault:
                lost = driver.is_closed() or is_lost(fault)
                _drop(connection)
                await connection.close()
                if not (worked and lost and isinstance(fault, Exception)):
                    raise


def _make_engine(
    dsn: str,
    *,
    pooler: bool,
    pool_size: int,
    checkout_timeout: float,
    timeout: float,
    command_timeout: float,
) -> AsyncEngine:
    connect = functools.partial(
        asyncpg.connect, dsn, server_settings={"application_name": "sandbox-api"}
    )
    settings: dict[str, object] = {"timeout": timeout, "command_timeout": command_timeout}
    if pooler:
        # The next transaction may meet another server process, which knows no statement of
        # ours: only the unnamed one is used, and nothing is remembered.
        settings |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": str,
        }
    engine = create_async_engine(
        "postgresql+asyncpg://",
        isolation_level="AUTOCOMMIT",
        # Errors are logged, and what goes into a statement is a user's code and secrets.
        hide_parameters=True,
        connect_args={"async_creator_fn": connect, **settings},
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=checkout_timeout,
        pool_use_lifo=True,
        pool_reset_on_return=None,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(
    connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Have the pool replace connections whose end asyncpg has noticed already."""
    if cast("DriverConnection", connection.driver_connection).is_closed():
        raise exc.InvalidatePoolError


def _driver_of(connection: AsyncConnection) -> tuple[DriverConnection, dict[Any, Any]]:
    proxied = connection.sync_connection.connection if connection.sync_connection else None
    if proxied is None:
        raise exc.InvalidRequestError("The connection is not checked out.")
    return cast("DriverConnection", proxied.driver_connection), proxied.info


def _drop(connection: AsyncConnection) -> None:
    """Take the connection out of the pool and cut it, without waiting for anything."""
    if connection.sync_connection is not None and not connection.invalidated:
        connection.sync_connection.invalidate()


async def _commit(driver: DriverConnection) -> None:
    # Postgres answers the commit of a failed transaction by rolling it back, not by an error.
    if await driver.execute("COMMIT") != "COMMIT":
        raise TransactionAbortedError("A statement failed before: nothing was kept.")


async def _roll_back(connection: AsyncConnection, driver: DriverConnection) -> None:
    try:
        if driver.is_in_transaction():
            await driver.execute("ROLLBACK")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        # The error that led here is the one to tell; a lost connection rolls back by itself.
        _drop(connection)


def _prologue(role: str, claims: Mapping[str, Any]) -> str:
    """Say BEGIN, role and claims in one message; the claims as hexadecimal digits.

    The simple protocol has no parameters: digits can't end the literal that they stand in.
    """
    digits = _claims_text(claims).encode().hex()
    return (
        "BEGIN ISOLATION LEVEL READ COMMITTED; "
        f"SELECT set_config('role', '{role}', true), {LIMITS}, set_config("
        f"'request.jwt.claims', convert_from(decode('{digits}', 'hex'), 'UTF8'), true)"
    )


def _claims_text(claims: Mapping[str, Any]) -> str:
    # Postgres' JSON refuses U+0000; a user may have put it into a name in the claims.
    text = json.dumps(dict(claims), ensure_ascii=False).replace("\\u0000", "\\ufffd")
    return text.encode("utf-8", "replace").decode()


def _lock_number(claims: Mapping[str, Any]) -> int:
    owner = UUID(str(claims["sub"]))
    digest = hashlib.blake2b(owner.bytes, digest_size=8, person=b"sandbox-owner")
    return int.from_bytes(digest.digest(), signed=True)
