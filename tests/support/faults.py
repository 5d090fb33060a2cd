"""Faults made on purpose, from outside of the product, and an instance apart to make them in."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg

from ops.layout import REPOSITORY, Layout
from tests.support.api import Api
from tests.support.postgres import PostgresServer
from tests.support.stack import Server, Stack, docker, running_server
from tests.support.tokens import secret_of

DOCKER_SOCKET = Path("/var/run/docker.sock")
PAUSE_SECONDS = 0.1
LEASE_SECONDS = 3
"""How long an instance apart waits for a keeper that is gone."""
DRIVER = """
import ray, sys
address, name, deed = sys.argv[1:]
ray.init(address=address, log_to_driver=False, logging_level="ERROR")
named = ray.util.list_named_actors(all_namespaces=True)
def find():
    [namespace] = [one["namespace"] for one in named if one["name"] == name]
    return ray.get_actor(name, namespace=namespace)
if deed == "pid":
    print(ray._private.state.actors(find()._actor_id.hex())["Pid"])
elif deed == "kill":
    ray.kill(find())
elif deed == "clean up":
    from rayai.sandbox import cleanup_session
    print(ray.get(cleanup_session.remote(name.removeprefix("code-executor-"))))
elif deed == "is there":
    print(name in [one["name"] for one in named])
else:
    @ray.remote(num_cpus=0)
    class Stranger:
        pass
    actor = Stranger.options(name=name, namespace=deed, lifetime="detached").remote()
    ray.get(actor.__ray_ready__.remote())
"""


async def eventually[T](
    look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], seconds: float = 30.0
) -> T:
    """Look again and again until what is seen is what is wanted, and return it."""
    seen = await look()
    end = asyncio.get_running_loop().time() + seconds
    while not wanted(seen):
        assert asyncio.get_running_loop().time() < end, f"after {seconds} s still {seen}"
        await asyncio.sleep(PAUSE_SECONDS)
        seen = await look()
    return seen


async def settled(api: Api, sandbox: str, status: str, seconds: float = 30.0) -> dict[str, object]:
    """Wait until a sandbox has a status, and return it."""
    return await eventually(
        lambda: api.sandbox(sandbox), lambda seen: bool(seen["status"] == status), seconds
    )


async def move(api: Api, verb: str, sandbox: str) -> dict[str, object]:
    """Start, stop or restart a sandbox and return it."""
    fields = "sandbox { id status statusReason startedAt }"
    moved: dict[str, object] = (await api.mutate(verb, fields, sandboxId=sandbox))["sandbox"]
    return moved


async def session_of(stack: Stack, sandbox: str) -> str:
    """Return the session that serves a sandbox."""
    [found] = await sql(stack.state("postgres")["url"], SESSION_OF, UUID(sandbox))
    return str(found["session_id"])


SESSION_OF = "SELECT session_id FROM sandbox_api.sandboxes WHERE id = $1"


async def sql(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement with the rights of background work."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET ROLE service_role")
        found: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return found
    finally:
        await connection.close()


# Containers and actors.


def kill_container(sandbox: str) -> None:
    """End a sandbox's container as `docker kill` does."""
    docker("kill", _container(sandbox))


def remove_container(sandbox: str) -> None:
    """Remove a sandbox's container, running as it is."""
    docker("rm", "--force", _container(sandbox))


def _container(sandbox: str) -> str:
    [found] = docker("ps", "--quiet", "--filter", f"label=sandbox-api.sandbox={sandbox}").split()
    return found


def drive(stack: Stack, name: str, deed: str) -> str:
    """Do something to an actor from another Ray driver: `pid`, `kill`, `clean up`, `is there`.

    Any other deed is the namespace in which an actor of that name is made.
    """
    command = [sys.executable, "-c", DRIVER, stack.state("ray")["address"], name, deed]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ray_token(stack)}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def ray_token(stack: Stack) -> dict[str, str]:
    """Return what lets a process into the stack's Ray cluster."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(stack.layout.ray_token)}


def kill_actor_process(stack: Stack, session: str) -> None:
    """End an actor with SIGKILL, as the kernel would."""
    os.kill(int(drive(stack, f"code-executor-{session}", "pid")), signal.SIGKILL)


@contextmanager
def docker_away() -> Iterator[None]:
    """Have nobody reach Docker; what is connected already stays so, and containers run on."""
    aside = DOCKER_SOCKET.with_suffix(".aside")
    DOCKER_SOCKET.rename(aside)
    try:
        yield
    finally:
        aside.rename(DOCKER_SOCKET)


# The database.


def postgres(stack: Stack, verb: str) -> None:
    """Start or stop the stack's embedded server."""
    folder = str(stack.layout.data_dir)
    command = [sys.executable, "-m", "db.embedded", verb, "--data-dir", folder]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)


@contextmanager
def postgres_away(stack: Stack) -> Iterator[None]:
    """Have the embedded server stopped for the length of a block."""
    postgres(stack, "stop")
    try:
        yield
    finally:
        postgres(stack, "start")


# An instance apart.


@dataclass(frozen=True)
class Apart:
    """An instance with a name and a database of its own, on the stack's node and Ray cluster.

    Its API processes are the test's alone: nobody else holds its lease or keeps its house.
    """

    stack: Stack
    layout: Layout
    url: str

    @property
    def instance(self) -> str:
        """The instance's name."""
        return self.layout.instance()

    @contextmanager
    def server(self, log: Path, **variables: str) -> Iterator[Server]:
        """Have an API process for the length of a block, however it ends."""
        with running_server(self.stack, log=log, **(self.variables() | variables)) as running:
            yield running

    def variables(self) -> dict[str, str]:
        """Return what makes an API process one of this instance's."""
        return {
            "DATA_DIR": str(self.layout.data_dir),
            "SANDBOX_NODE_DATA_DIR": str(self.stack.layout.data_dir),
            "DATABASE_URL": self.url,
            "RAY_ADDRESS": self.stack.state("ray")["address"],
            "SUPABASE_JWT_SECRET": secret_of(self.stack),
            "KEEPER_LEASE_SECONDS": str(LEASE_SECONDS),
            **ray_token(self.stack),
        }

    def containers(self) -> list[str]:
        """List the instance's containers, running or not."""
        label = f"label=sandbox-api.instance={self.instance}"
        return docker("ps", "--all", "--quiet", "--filter", label).split()

    def folders(self) -> list[str]:
        """List the instance's sessions that have folders."""
        found = self.stack.layout.sandboxes.glob(f"{self.instance}-*")
        return [path.name for path in found]


@asynccontextmanager
async def instance_apart(stack: Stack) -> AsyncIterator[Apart]:
    """Have an instance apart; at the end nothing of it may be left, and its database goes."""
    sockets = Path(stack.state("postgres")["url"].partition("host=")[2])
    server = PostgresServer(sockets, "sandbox_api", "", _nothing, _nothing)
    with tempfile.TemporaryDirectory(prefix="sba-apart-") as folder:
        async with server.database(migrated=False) as database:
            apart = Apart(stack, Layout.of(folder), database.url)
            yield apart
            assert apart.containers() == []
            assert apart.folders() == []


def _nothing() -> None:
    """Stand for what nobody asks of a server that the stack has started."""
