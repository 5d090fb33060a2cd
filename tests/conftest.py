"""What all tests share: one real stack, one API process, users of their own."""

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import lanes, stalls
from tests.support.api import Api
from tests.support.stack import DEFAULT_DATA_DIR, Server, Stack, running_server, running_stack

# Before anything reads it, which collecting the tests does.
lanes.choose_data_dir(DEFAULT_DATA_DIR)


_BEGAN = stalls.uptime()
_session = ExitStack()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep the machine's own stalls short, once for all workers."""
    if not hasattr(session.config, "workerinput"):
        _session.enter_context(stalls.cut_short())


def pytest_sessionfinish() -> None:
    """Leave the machine as it was."""
    _session.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the machine itself stood still, which may be why something failed."""
    if seen := stalls.seen_since(_BEGAN):
        terminalreporter.write_line(
            f"The kernel told {seen} times of a stalled CPU meanwhile (dmesg)"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that disturbs the whole machine run while no other does."""
    with lanes.turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Postgres, Ray, Docker and gVisor, running."""
    with running_stack() as running:
        yield running


@pytest.fixture(scope="session")
def server(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API process that all tests may use, and none may end."""
    log: Path = tmp_path_factory.mktemp("api") / "log"
    with running_server(stack, log=log) as running:
        yield running


@pytest.fixture(scope="session")
async def api(stack: Stack, server: Server) -> AsyncIterator[Api]:
    """A user of that server."""
    async with Api(server.url, stack.token()) as client:
        yield client


@pytest.fixture(scope="session")
async def other(stack: Stack, server: Server) -> AsyncIterator[Api]:
    """Another user of that server."""
    async with Api(server.url, stack.token()) as client:
        yield client


@pytest.fixture(scope="session")
async def sandbox(api: Api) -> AsyncIterator[str]:
    """A RUNNING sandbox of `api`'s that tests share; they leave it RUNNING."""
    made = await api.create(name="shared")
    yield made
    await api.delete(made)
