"""What integration tests share: a connection to Ray, sessions, rooms, and an index of packages."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ops.engine import Engine
from ops.layout import Layout
from ops.stop import remove_containers
from tests.support.stack import DEFAULT_DATA_DIR, Stack

# Ray reads how to authenticate when it is imported, which collecting the tests does.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN_PATH"] = str(
    Layout.of(os.environ.get("DATA_DIR", DEFAULT_DATA_DIR)).ray_token
)

from db.engine import Database
from services.executor.client import RayExecutor
from services.executor.cluster import ClusterSettings
from tests.support.installations import Session
from tests.support.package_index import Index
from tests.support.postgres import PostgresServer, Servers, embedded_server, shared_servers
from tests.support.rooms import Room, room_in
from tests.support.sessions import Desk, Lab, sibling


@pytest.fixture(scope="session")
async def executor(stack: Stack) -> AsyncIterator[RayExecutor]:
    """The executor as the services have it, connected to the stack's Ray."""
    # What an earlier run left that was cut short: no API knows this instance.
    await asyncio.to_thread(remove_containers, Engine(), sibling(stack))
    settings = ClusterSettings(
        address=stack.state("ray")["address"],
        instance=sibling(stack),
        node_data_dir=str(stack.layout.data_dir),
        image=stack.state("node")["image"],
        capacity_wait_seconds=2.0,
    )
    async with RayExecutor(settings) as connected:
        yield connected


@pytest.fixture(scope="module")
async def lab(stack: Stack, executor: RayExecutor) -> AsyncIterator[Lab]:
    """Sessions for one module; nothing is left of them after it."""
    lab = Lab(stack, executor)
    try:
        yield lab
    finally:
        await lab.clear()


@pytest.fixture(scope="module")
async def desk(lab: Lab) -> Desk:
    """A running session that the tests of a module share; they leave it able to run code."""
    return await lab.start()


@pytest.fixture(scope="module")
async def resting(desk: Desk) -> int:
    """How many processes there are while no code runs."""
    (await desk.run("pass")).succeeded()
    return await desk.processes()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Postgres servers that all tests may use, and none may halt."""
    with shared_servers() as started:
        yield started


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """The product's own server, for one module, whose tests may halt and restart it."""
    with embedded_server() as started:
        yield started


@pytest.fixture(scope="module")
async def database(servers: Servers) -> AsyncIterator[Database]:
    """The product's own server, migrated."""
    async with servers("embedded").database() as made, Database(made.url) as opened:
        yield opened


@pytest.fixture
async def room(database: Database) -> AsyncIterator[Room]:
    """One process, with a user of its own."""
    async with room_in(database) as made:
        yield made


@pytest.fixture
async def kept(room: Room) -> AsyncIterator[Room]:
    """The process while it holds the lease."""
    async with room.services.keeper:
        yield room


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index of our own."""
    return Index(tmp_path / "simple")


@pytest.fixture
def session(tmp_path: Path, index: Index) -> Session:
    """A session that installs from it, below a folder that only root passes."""
    root = tmp_path / "node"
    root.mkdir(mode=0o700)
    return Session(root, index.url)
