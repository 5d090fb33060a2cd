"""Calls over a Unix socket, between two ends in one process."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.executor import rpc
from services.executor.errors import QueueFullError
from services.executor.rpc import (
    RpcClosedError,
    RpcConnection,
    RpcFaultError,
    RpcServer,
    connect,
)

NAME = "calls.sock"
SECONDS = 10.0
CALLS = 200
MIB = 1024 * 1024
ADDRESS_BYTES = 107
"""The longest path that a socket's address has room for."""
PEER = f"""
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind({NAME!r})
listener.listen()
print("up", flush=True)
peer, _ = listener.accept()
print(len(peer.recv(1)), flush=True)
while peer.recv(65536): pass
"""
"""A process that takes calls and never answers."""


class Service:
    """What can be called, and what came of it."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.let_go = asyncio.Event()
        self.turns = [asyncio.Event() for _ in range(CALLS)]

    @property
    def methods(self) -> rpc.Methods:
        """Those that a server is given."""
        names = ("echo", "refuse", "fail", "unpicklable", "hold", "take_turns")
        return {name: getattr(self, name) for name in names}

    async def echo(self, *values: object) -> tuple[object, ...]:
        """Give back what was given."""
        return values

    async def refuse(self) -> None:
        """Meet a condition that has a name."""
        raise QueueFullError("it is full", limit=3)

    async def fail(self) -> None:
        """Meet one that has none."""
        raise ZeroDivisionError("by zero")

    async def unpicklable(self) -> object:
        """Return what can't be sent."""
        return lambda: None

    async def hold(self) -> None:
        """Never return."""
        self.held.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.let_go.set()

    async def take_turns(self, number: int) -> int:
        """Answer after all calls with higher numbers."""
        if number + 1 < CALLS:
            await self.turns[number + 1].wait()
        self.turns[number].set()
        return number


class Wire(asyncio.Transport):
    """Brings all that is written in one turn of the loop to the peer, in pieces of one size."""

    def __init__(self, peer: asyncio.Protocol, piece: int) -> None:
        super().__init__()
        self._peer = peer
        self._piece = piece
        self._written = bytearray()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Take bytes; they arrive later, as they do over a socket."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self._deliver)
        for data in list_of_data:
            self._written += data

    def _deliver(self) -> None:
        written, self._written = bytes(self._written), bytearray()
        for start in range(0, len(written), self._piece):
            self._peer.data_received(written[start : start + self._piece])


@asynccontextmanager
async def serving(folder: Path, methods: rpc.Methods) -> AsyncIterator[RpcConnection]:
    """Have a server, and a connection to it."""
    server = RpcServer(folder, NAME, methods)
    await server.start()
    connection = await connect(folder, NAME)
    try:
        yield connection
    finally:
        connection.close()
        await server.aclose()


@pytest.fixture
async def service() -> Service:
    """What the server of a test does."""
    return Service()


@pytest.fixture
async def connection(tmp_path: Path, service: Service) -> AsyncIterator[RpcConnection]:
    """A connection to it."""
    async with serving(tmp_path, service.methods) as connected:
        yield connected


async def test_an_answer_comes_back(connection: RpcConnection) -> None:
    """Arguments arrive as they were, none at all too, and so does what is returned."""
    values = (b"\x00\xff", "é\ud800", {"n": [1, None]}, QueueFullError)

    assert await connection.call("echo", *values, seconds=SECONDS) == values
    assert await connection.call("echo", seconds=SECONDS) == ()
    assert await connection.call("echo", None, seconds=SECONDS) == (None,)


async def test_a_condition_with_a_name_comes_back(connection: RpcConnection) -> None:
    """An `ExecutorError` is raised at the caller, its message and details with it."""
    with pytest.raises(QueueFullError) as raised:
        await connection.call("refuse", seconds=SECONDS)

    assert raised.value.message == "it is full"
    assert raised.value.details == {"limit": 3}


@pytest.mark.parametrize(
    ("method", "words"),
    [("fail", "ZeroDivisionError: by zero"), ("unpicklable", "lambda"), ("missing", "KeyError")],
)
async def test_any_other_error_is_a_fault(
    connection: RpcConnection, method: str, words: str
) -> None:
    """A fault of the server's ends its call alone, with words about it: the next is answered."""
    with pytest.raises(RpcFaultError, match=words):
        await connection.call(method, seconds=SECONDS)

    assert await connection.call("echo", 1, seconds=SECONDS) == (1,)


async def test_arguments_that_can_not_be_sent(connection: RpcConnection) -> None:
    """A call whose arguments can't be pickled fails at the caller, and nothing stays of it."""
    with pytest.raises(Exception, match="lambda"):
        await connection.call("echo", lambda: None, seconds=SECONDS)

    assert not connection._calls
    assert await connection.call("echo", 1, seconds=SECONDS) == (1,)


async def test_many_calls_at_once(connection: RpcConnection) -> None:
    """Calls of one connection run side by side, and each caller gets its own answer."""
    calls = [connection.call("take_turns", number, seconds=SECONDS) for number in range(CALLS)]

    assert await asyncio.gather(*calls) == list(range(CALLS))


async def test_a_cancelled_caller_cancels_the_call(
    connection: RpcConnection, service: Service
) -> None:
    """Where nobody waits for an answer any more, the other side ends its work."""
    call = asyncio.create_task(connection.call("hold", seconds=SECONDS))
    await service.held.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    async with asyncio.timeout(SECONDS):
        await service.let_go.wait()
    assert await connection.call("echo", 1, seconds=SECONDS) == (1,)


async def test_a_caller_that_waited_too_long_cancels_the_call(
    connection: RpcConnection, service: Service
) -> None:
    """A call out of time is a `TimeoutError` here, and ends there."""
    with pytest.raises(TimeoutError):
        await connection.call("hold", seconds=0.01)

    async with asyncio.timeout(SECONDS):
        await service.let_go.wait()
    assert await connection.call("echo", 1, seconds=SECONDS) == (1,)


async def test_the_peers_death_ends_all_calls(tmp_path: Path) -> None:
    """When the other process is killed, all who wait are told, and so is who calls later."""
    peer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PEER, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert peer.stdout is not None
    assert await peer.stdout.readline() == b"up\n"
    connection = await connect(tmp_path, NAME)
    calls = [asyncio.create_task(connection.call("any", seconds=SECONDS)) for _ in range(5)]
    assert await peer.stdout.readline() == b"1\n"
    peer.kill()
    await peer.wait()
    ends = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(end) for end in ends] == [RpcClosedError] * 5
    assert connection.closed
    with pytest.raises(RpcClosedError):
        await connection.call("any", seconds=SECONDS)


async def test_a_lost_connection_cancels_its_calls(
    connection: RpcConnection, service: Service
) -> None:
    """When the caller's end is closed, the server ends what it did for it."""
    call = asyncio.create_task(connection.call("hold", seconds=SECONDS))
    await service.held.wait()
    connection.close()
    connection.close()

    async with asyncio.timeout(SECONDS):
        await service.let_go.wait()
    with pytest.raises(RpcClosedError):
        await call


async def test_large_messages_cross_whole(connection: RpcConnection) -> None:
    """Messages of several MiB arrive whole in both directions, small ones between them."""
    large = [os.urandom(MIB) * 8 for _ in range(3)]
    values = [value for each in large for value in (each, b"small")]
    answers = await asyncio.gather(
        *(connection.call("echo", value, seconds=SECONDS) for value in values)
    )

    assert answers == [(value,) for value in values]


@pytest.mark.parametrize("piece", [1, 5, MIB])
async def test_messages_in_pieces(service: Service, piece: int) -> None:
    """Messages cut anywhere, or several in one piece, are read all the same."""
    caller, called = RpcConnection(), rpc._Service(service.methods)
    caller.connection_made(Wire(called, piece))
    called.connection_made(Wire(caller, piece))
    answers = await asyncio.gather(
        *(caller.call("echo", number, "x" * number, seconds=SECONDS) for number in range(20))
    )

    assert answers == [(number, "x" * number) for number in range(20)]


async def test_a_folder_with_a_long_path(tmp_path: Path, service: Service) -> None:
    """A socket works in a folder whose path has no room in an address."""
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    async with serving(folder, service.methods) as connection:
        assert len(os.fsencode(folder)) > ADDRESS_BYTES
        assert await connection.call("echo", 1, seconds=SECONDS) == (1,)


def stale_socket(path: Path) -> None:
    """Leave a socket that nobody listens at, as a killed process does."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("leave", [stale_socket, Path.touch], ids=["socket", "file"])
async def test_what_a_dead_server_left_is_replaced(
    tmp_path: Path, service: Service, leave: Callable[[Path], None]
) -> None:
    """A server listens in the place of one that ended without a word."""
    leave(tmp_path / NAME)
    with pytest.raises(ConnectionRefusedError):
        await connect(tmp_path, NAME)
    async with serving(tmp_path, service.methods) as connection:
        assert await connection.call("echo", 1, seconds=SECONDS) == (1,)


async def test_starting_and_closing_again(tmp_path: Path, service: Service) -> None:
    """A server that is started or closed twice is as if it were once; closed, it is not there."""
    server = RpcServer(tmp_path, NAME, service.methods)
    await server.start()
    first = (tmp_path / NAME).stat().st_ino
    await server.start()

    assert (tmp_path / NAME).stat().st_ino == first
    await server.aclose()
    await server.aclose()
    with pytest.raises(OSError, match=r"refused|No such file"):
        await connect(tmp_path, NAME)


async def test_a_folder_that_is_not_there(tmp_path: Path, service: Service) -> None:
    """Neither end hides that there is no folder, and nothing is left open."""
    folder = tmp_path / "missing"

    with pytest.raises(FileNotFoundError):
        await RpcServer(folder, NAME, service.methods).start()
    with pytest.raises(FileNotFoundError):
        await connect(folder, NAME)
