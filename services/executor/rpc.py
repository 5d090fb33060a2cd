"""Calls over a Unix socket, many at once on one connection.

A message is a 4-byte big-endian length and a pickle, for both ends are ours, as they are where
Ray carries the same calls. A request is `(number, method, arguments)`, a wish to cancel it
`(number, None, ())`, an answer `(number, value, error)`.
"""

import asyncio
import itertools
import logging
import os
import pickle
import socket
import struct
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from services.executor.errors import ExecutorError

logger = logging.getLogger(__name__)

HEADER = struct.Struct(">I")
BACKLOG = 128

Methods = Mapping[str, Callable[..., Awaitable[object]]]


class RpcClosedError(Exception):
    """The connection ended before the answer: whether the call was carried out is unknown."""


class RpcFaultError(Exception):
    """The other side failed in a way that it has no name for; its log tells."""


class _Peer(asyncio.Protocol):
    """One end of a connection: messages in, messages out."""

    def __init__(self) -> None:
        self.closed = False
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed = True

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER.size:
            (length,) = HEADER.unpack_from(buffer, start)
            stop = start + HEADER.size + length
            if stop > len(buffer):
                break
            message = pickle.loads(buffer[start + HEADER.size : stop])  # noqa: S301 # see above
            start = stop
            self.received(*message)
        del buffer[:start]

    @abstractmethod
    def received(self, number: int, one: Any, other: Any) -> None:  # noqa: ANN401 # whatever it is
        """Take one message."""

    def send(self, number: int, one: object, other: object) -> None:
        if self._transport is not None and not self.closed:
            body = pickle.dumps((number, one, other), pickle.HIGHEST_PROTOCOL)
            self._transport.writelines((HEADER.pack(len(body)), body))

    def close(self) -> None:
        """Close the connection; idempotent."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


class RpcConnection(_Peer):
    """The caller's end."""

    def __init__(self) -> None:
        """Begin without calls; `connect` makes one."""
        super().__init__()
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}

    async def call(self, method: str, *arguments: object, seconds: float) -> Any:  # noqa: ANN401 # the method's own
        """Return what the method returns, or raise what it raises.

        Raises `TimeoutError` after `seconds`, and `RpcClosedError`. A caller that is cancelled
        or has waited for too long cancels the call.
        """
        if self.closed:
            raise RpcClosedError
        number = next(self._numbers)
        future = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self.send(number, method, arguments)
            async with asyncio.timeout(seconds):
                return await future
        finally:
            if self._calls.pop(number, None) is not None:
                self.send(number, None, ())

    def received(self, number: int, one: Any, other: Any) -> None:  # noqa: ANN401 # the method's own
        """Give an answer to whoever waits for it."""
        future = self._calls.pop(number, None)
        if future is None or future.done():
            return
        if other is None:
            future.set_result(one)
        else:
            future.set_exception(other)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        super().connection_lost(exc)
        calls, self._calls = self._calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(RpcClosedError())


class _Service(_Peer):
    """The called end of one connection."""

    def __init__(self, methods: Methods) -> None:
        super().__init__()
        self._methods = methods
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def received(self, number: int, one: Any, other: Any) -> None:  # noqa: ANN401 # as in `_Peer`
        if one is None:
            task = self._tasks.get(number)
            if task is not None:
                task.cancel()
            return
        loop = asyncio.get_running_loop()
        task = asyncio.Task(self._answer(number, one, other), loop=loop, eager_start=True)
        if not task.done():
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _answer(self, number: int, method: str, arguments: tuple[object, ...]) -> None:
        try:
            self.send(number, await self._methods[method](*arguments), None)
        except ExecutorError as error:
            self.send(number, None, error)
        except asyncio.CancelledError:
            # By its caller, who does not listen any more, or by the method itself.
            self.send(number, None, RpcFaultError("the call was cancelled"))
            raise
        except Exception as error:
            logger.exception("%s failed on our side", method)
            self.send(number, None, RpcFaultError(f"{type(error).__name__}: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for task in list(self._tasks.values()):
            task.cancel()


class RpcServer:
    """Answers calls at a socket in a folder; whoever may enter the folder may call."""

    def __init__(self, folder: Path, name: str, methods: Methods) -> None:
        """Name the socket and what can be called; nothing listens yet."""
        self._folder = folder
        self._name = name
        self._methods = methods
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, in the place of whoever did before; idempotent. Raises `OSError`."""
        if self._server is not None:
            return
        (self._folder / self._name).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(self._folder) as folder:
                listener.bind(f"{folder}/{self._name}")
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(
                lambda: _Service(self._methods), sock=listener, backlog=BACKLOG
            )
        except BaseException:
            listener.close()
            raise

    async def aclose(self) -> None:
        """Listen no more; idempotent. Connections end with the process."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


async def connect(folder: Path, name: str) -> RpcConnection:
    """Connect to the socket of this name in a folder. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    with _short(folder) as short:
        _, connection = await loop.create_unix_connection(RpcConnection, f"{short}/{name}")
    return connection


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Give a folder a name that leaves room in a socket's address, which has 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
