"""The short way to sessions: which of them have a socket here, and connections to those."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.executor import local
from services.executor.errors import ClusterUnavailableError, QueueFullError
from services.executor.local import ABSENT_SECONDS, SOCKET, LocalCalls
from services.executor.rpc import RpcClosedError, RpcConnection, RpcServer, connect
from services.executor.storage import session_folder

SESSION = "00000000-session"
SECONDS = 10.0


class Looks:
    """Counts how often a socket is looked for, and keeps the time by which that is done."""

    def __init__(self) -> None:
        self.number = 0
        self.now = 1000.0

    async def connect(self, folder: Path, name: str) -> RpcConnection:
        """Connect as ever."""
        self.number += 1
        return await connect(folder, name)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """The looks of a test."""
    looks = Looks()
    monkeypatch.setattr(local, "connect", looks.connect)
    monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: looks.now))
    return looks


@pytest.fixture
async def calls(tmp_path: Path, looks: Looks) -> AsyncIterator[LocalCalls]:
    """Calls to sessions below a folder of the test's."""
    assert looks.number == 0
    calls = LocalCalls(tmp_path)
    yield calls
    calls.close()


@asynccontextmanager
async def serving(root: Path, session_id: str = SESSION, name: str = "it") -> AsyncIterator[None]:
    """Have a session that answers with a name."""

    async def who() -> str:
        return name

    async def refuse() -> None:
        raise QueueFullError("it is full", limit=3)

    async def hold() -> None:
        await asyncio.Event().wait()

    folder = session_folder(root, session_id)
    folder.mkdir(parents=True, exist_ok=True)
    server = RpcServer(folder, SOCKET, {"who": who, "refuse": refuse, "hold": hold})
    await server.start()
    try:
        yield
    finally:
        await server.aclose()


async def test_calls_at_once_connect_once(tmp_path: Path, calls: LocalCalls, looks: Looks) -> None:
    """All calls to a session, the first ones at once, share one connection."""
    async with serving(tmp_path):
        many = [calls.call(SESSION, SECONDS, "who") for _ in range(20)]
        answers = await asyncio.gather(*many)
        answers.append(await calls.call(SESSION, SECONDS, "who"))

    assert answers == ["it"] * 21
    assert looks.number == 1


async def test_each_session_has_its_own(tmp_path: Path, calls: LocalCalls) -> None:
    """A call goes to the session that it names; what that raises is raised here."""
    async with serving(tmp_path, "a", "first"), serving(tmp_path, "b", "second"):
        answers = [await calls.call(name, SECONDS, "who") for name in ("a", "b", "a")]
        with pytest.raises(QueueFullError) as raised:
            await calls.call("b", SECONDS, "refuse")

    assert answers == ["first", "second", "first"]
    assert raised.value.details == {"limit": 3}


async def test_a_session_without_a_socket_is_let_alone(
    tmp_path: Path, calls: LocalCalls, looks: Looks
) -> None:
    """A session that is not here is not looked for again, until some seconds have passed."""
    with pytest.raises(RpcClosedError):
        await calls.call(SESSION, SECONDS, "who")
    async with serving(tmp_path):
        looks.now += ABSENT_SECONDS - 0.001
        with pytest.raises(RpcClosedError):
            await calls.call(SESSION, SECONDS, "who")
        assert looks.number == 1
        looks.now += 0.001

        assert await calls.call(SESSION, SECONDS, "who") == "it"


async def test_a_session_that_was_just_started_is_looked_for(
    tmp_path: Path, calls: LocalCalls
) -> None:
    """`expect` makes the next call look at once, whatever there was before."""
    with pytest.raises(RpcClosedError):
        await calls.call(SESSION, SECONDS, "who")
    async with serving(tmp_path, name="first"):
        calls.expect(SESSION)
        assert await calls.call(SESSION, SECONDS, "who") == "first"
    async with serving(tmp_path, name="second"):
        calls.expect(SESSION)

        assert await calls.call(SESSION, SECONDS, "who") == "second"


async def test_the_absent_are_forgotten_in_the_end(
    calls: LocalCalls, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sessions are elsewhere, only so many are kept in mind."""
    monkeypatch.setattr(local, "MOST_ABSENT", 3)
    for number in range(10):
        with pytest.raises(RpcClosedError):
            await calls.call(f"s{number}", SECONDS, "who")

    assert looks.number == 10
    assert len(calls._absent) <= 3


@pytest.mark.parametrize("name", ["", "..", "../" + SESSION, "a/b", "a\x00b", "a" * 200])
async def test_what_is_no_session_id(calls: LocalCalls, name: str) -> None:
    """A name that could lead out of the folder has no socket, and is no other error."""
    with pytest.raises(RpcClosedError):
        await calls.call(name, SECONDS, "who")


def left(calls: LocalCalls) -> None:
    """Leave the session, as is done where it has been stopped."""
    calls.leave(SESSION)
    calls.leave(SESSION)


def lost(calls: LocalCalls) -> None:
    """Lose the connection, as when the session's process dies."""
    calls._connections[SESSION].close()


@pytest.mark.parametrize("gone", [left, lost])
async def test_a_session_that_is_gone_is_found_anew(
    tmp_path: Path, calls: LocalCalls, gone: Callable[[LocalCalls], None]
) -> None:
    """The next session of this name is connected to where the last one is left or lost."""
    async with serving(tmp_path, name="first"):
        assert await calls.call(SESSION, SECONDS, "who") == "first"
    async with serving(tmp_path, name="second"):
        gone(calls)

        assert await calls.call(SESSION, SECONDS, "who") == "second"


async def test_no_answer_in_time(tmp_path: Path, calls: LocalCalls) -> None:
    """A session that does not answer is unavailable, as it would be by Ray; others go on."""
    async with serving(tmp_path):
        with pytest.raises(ClusterUnavailableError, match="in time"):
            await calls.call(SESSION, 0.01, "hold")

        assert await calls.call(SESSION, SECONDS, "who") == "it"


async def test_closing_ends_all(tmp_path: Path, calls: LocalCalls) -> None:
    """`close` closes every connection, tells who waits, and may be called again."""
    async with serving(tmp_path, "a"), serving(tmp_path, "b"):
        await asyncio.gather(*(calls.call(name, SECONDS, "who") for name in "ab"))
        connections = list(calls._connections.values())
        waiting = asyncio.create_task(calls.call("a", SECONDS, "hold"))
        await asyncio.wait({waiting}, timeout=0)
        calls.close()
        calls.close()
        with pytest.raises(RpcClosedError):
            await waiting

    assert [connection.closed for connection in connections] == [True, True]
    assert not calls._connections
