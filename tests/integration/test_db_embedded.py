"""The embedded server belongs to its data folder, and to no process that started it."""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from db import embedded, migrate
from db.embedded.places import PACKAGE, SYSTEM_DIR, instance_name
from db.engine import Database
from db.errors import EmbeddedServerError

as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root starts the server as somebody else"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder; its server is stopped afterwards."""
    path = Path(tempfile.mkdtemp(prefix="sba-test-"))
    path.chmod(0o755)
    yield path
    remove(path)


def remove(folder: Path) -> None:
    """Stop the folder's server and remove all that it has anywhere."""
    embedded.stop(folder)
    if (folder / "instance").exists():
        instance = instance_name(folder)
        shutil.rmtree(SYSTEM_DIR / instance, ignore_errors=True)
        shutil.rmtree(Path("/tmp") / f"sba-{instance}", ignore_errors=True)  # noqa: S108 # its place
    shutil.rmtree(folder)


def postmaster_of(folder: Path) -> psutil.Process:
    """Find the folder's server process."""
    pid = (folder / "postgres" / "postmaster.pid").read_text().split()[0]
    return psutil.Process(int(pid))


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that ended may wait for an init that is slow to fetch it."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def command(name: str, folder: Path) -> list[str]:
    """Return the command line of ours."""
    return [sys.executable, "-m", "db.embedded", name, "--data-dir", str(folder)]


async def count_sandboxes(url: str) -> int:
    """Use the database as the product does."""
    async with Database(url) as database, database.service_session() as session:
        row = await session.fetch_row("SELECT count(*) FROM sandbox_api.sandboxes")
    assert row is not None
    return int(row[0])


async def test_start_is_idempotent(folder: Path) -> None:
    """A second start finds the first one's server; after a stop the data is still there."""
    url = await asyncio.to_thread(embedded.start, folder)
    first = postmaster_of(folder)
    assert await asyncio.to_thread(embedded.start, folder) == url
    assert postmaster_of(folder) == first
    await migrate.upgrade(url)
    await asyncio.to_thread(embedded.stop, folder)
    await asyncio.to_thread(embedded.stop, folder)
    assert not is_alive(first)

    assert await asyncio.to_thread(embedded.start, folder) == url
    assert embedded.read_url(folder) == url
    assert await count_sandboxes(url) == 0


def connections_of(process: psutil.Process) -> Sequence[object]:
    """Return its network sockets; one that has done its work meanwhile has none."""
    try:
        return process.net_connections("inet")
    except psutil.NoSuchProcess:
        return ()


def test_no_network(folder: Path) -> None:
    """The server and its children have no network socket, and its folder is closed."""
    url = embedded.start(folder)

    server = postmaster_of(folder)
    processes = [server, *server.children(recursive=True)]
    assert not [each for process in processes for each in connections_of(process)]
    sockets = Path(url.partition("host=")[2])
    assert sockets.stat().st_mode & 0o077 == 0
    assert len(str(sockets / ".s.PGSQL.5432")) < 107


@as_root
def test_not_as_root(folder: Path) -> None:
    """The server runs as a user of its own and knows nothing of our environment."""
    subprocess.run(
        command("start", folder), check=True, env={**os.environ, "SUPABASE_JWT_SECRET": "s3cr3t"}
    )

    server = postmaster_of(folder)
    assert server.username() == "sandbox-api-db"
    assert "SUPABASE_JWT_SECRET" not in server.environ()


def test_outlives_the_starter(folder: Path) -> None:
    """What started the server may be killed with all of its session and terminal."""
    starter = subprocess.Popen(
        ["sh", "-c", f"{' '.join(command('start', folder))}; sleep 60"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    with starter.stdout:
        assert starter.stdout.readline().startswith("postgresql://")
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()

    server = postmaster_of(folder)
    assert is_alive(server)
    assert os.getsid(server.pid) != starter.pid


def test_stale_pid(folder: Path) -> None:
    """After a crash, a process id that another program has now does not keep it from starting."""
    url = embedded.start(folder)
    server = postmaster_of(folder)
    family = [server, *server.children()]
    server.kill()
    psutil.wait_procs(family, timeout=10)
    note = folder / "postgres" / "postmaster.pid"
    # As the server's own user, init and this test look alive to it, or not to be signalled.
    note.write_text("\n".join([str(os.getpid()), *note.read_text().splitlines()[1:]]))

    assert embedded.start(folder) == url
    assert postmaster_of(folder).name() == "postgres"


def test_crash(folder: Path) -> None:
    """A server that was killed is started again."""
    url = embedded.start(folder)
    postmaster_of(folder).kill()

    assert embedded.start(folder) == url


def test_lost_socket(folder: Path) -> None:
    """Where something has tidied the socket away, a start brings it back."""
    url = embedded.start(folder)
    sockets = Path(url.partition("host=")[2])
    shutil.rmtree(sockets)

    assert embedded.start(folder) == url
    assert (sockets / ".s.PGSQL.5432").is_socket()


def test_cut_short(folder: Path) -> None:
    """A first start that was killed half-way leaves nothing that a second one trips over."""
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")

    assert embedded.start(folder) == embedded.read_url(folder)


def test_two_at_once(folder: Path) -> None:
    """Of processes that start it at once, one does, and all get its address."""
    with ThreadPoolExecutor() as pool:
        starts = [
            pool.submit(subprocess.check_output, command("start", folder), text=True)
            for _ in range(4)
        ]
        urls = {start.result() for start in starts}

    assert len(urls) == 1
    assert is_alive(postmaster_of(folder))


@pytest.mark.long
def test_two_folders(folder: Path) -> None:
    """Servers of two folders run side by side, and stopping one leaves the other."""
    other = Path(tempfile.mkdtemp(prefix="sba-test-"))
    other.chmod(0o755)
    try:
        assert embedded.start(folder) != embedded.start(other)
        embedded.stop(other)

        assert is_alive(postmaster_of(folder))
    finally:
        remove(other)


@as_root
def test_closed_home() -> None:
    """Below a folder that only root may enter, the data and the programs lie elsewhere."""
    home = Path(tempfile.mkdtemp(prefix="sba-home-"))
    folder = home / "project" / ".data"
    packages = home / "packages"
    packages.mkdir()
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent.parent
    for name in (PACKAGE, f"{PACKAGE}.libs"):
        (packages / name).symlink_to(installed / name)
    try:
        told = subprocess.check_output(
            command("start", folder),
            text=True,
            env={**os.environ, "PYTHONPATH": f"{packages}:{os.environ.get('PYTHONPATH', '')}"},
        )
        url = told.strip()
        asyncio.run(migrate.upgrade(url))

        assert asyncio.run(count_sandboxes(url)) == 0
        assert home.stat().st_mode & 0o077 == 0
        assert (SYSTEM_DIR / instance_name(folder) / "postgres" / "PG_VERSION").exists()
    finally:
        remove(folder)
        shutil.rmtree(home)


def test_not_started(tmp_path: Path) -> None:
    """Without a server, the address can't be read, and the error says what to do."""
    with pytest.raises(EmbeddedServerError, match=r"db\.embedded start"):
        embedded.read_url(tmp_path)


def test_instance_name(tmp_path: Path) -> None:
    """All who ask at once for a new folder's name get the same one."""
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(instance_name, [tmp_path / "data"] * 32))

    (name,) = names
    assert len(name) == 8
    assert int(name, 16) >= 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["instance"]
