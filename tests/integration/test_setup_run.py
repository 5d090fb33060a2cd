"""`make run` and `make stop`, on a DATA_DIR of the test's own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from db.embedded.places import SYSTEM_DIR
from ops import api
from ops.engine import Engine
from ops.layout import REPOSITORY, Layout
from ops.process import run
from services.executor import head
from services.executor.ports import free_port

READY_SECONDS = 240.0
STOP_SECONDS = 40.0
API_PORT = 8000
"""What those are told that do not serve."""


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """An instance of the test's own, ended and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="sbt-") as folder:
        one = Layout.of(folder)
        yield one
        stopped = make("stop", one)
        # The folder is closed to the database's user.
        shutil.rmtree(SYSTEM_DIR / one.instance())
    assert stopped.returncode == 0, stopped.stderr


def environment(layout: Layout, port: int) -> dict[str, str]:
    """This process's, with the instance's folder and port, and two workers."""
    place = {"DATA_DIR": str(layout.data_dir), "API_PORT": str(port)}
    return os.environ | place | {"API_WORKERS": "2"}


def make(target: str, layout: Layout, port: int = API_PORT) -> subprocess.CompletedProcess[str]:
    """Run a target to its end."""
    return subprocess.run(
        ["make", target],
        cwd=REPOSITORY,
        env=environment(layout, port),
        capture_output=True,
        text=True,
        check=False,
    )


def serve(layout: Layout, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Begin `make run` and wait until it is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=REPOSITORY,
            env=environment(layout, port),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + READY_SECONDS
    while not ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            pytest.fail(log.read_text())
        time.sleep(0.2)
    return process


def ready(port: int) -> bool:
    """Whether the API has all that it needs."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=10).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def labelled(instance: str) -> str:
    """Start a container that looks like a sandbox of an instance."""
    return (
        Engine()
        .docker(
            "run", "-d", "--network=none", "--runtime=runsc",
            f"--label=sandbox-api.instance={instance}",
            "sandbox-api/python:latest", "sleep", "600",
        )
        .strip()
    )  # fmt: skip


def containers() -> str:
    """Ids of all containers, running or not."""
    return Engine().docker("ps", "--all", "--quiet", "--no-trunc")


def terminate(process: subprocess.Popen[bytes]) -> None:
    """End it as a service manager does."""
    process.terminate()


def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """End it as a terminal does, which sends the signal to all in the foreground."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.long
def test_workers_that_outlive_their_server_are_ended(layout: Layout, tmp_path: Path) -> None:
    """After a SIGKILL they go on to serve; `make stop` finds them, and `make run` tells of them."""
    port = free_port()
    process = serve(layout, port, tmp_path / "log")
    (server,) = api.find(layout)
    workers = [child.pid for child in psutil.Process(server).children() if serves(child, port)]
    os.kill(server, signal.SIGKILL)
    process.wait(STOP_SECONDS)
    left = set(api.find(layout))
    second = make("run", layout, free_port())
    done = make("stop", layout)

    assert len(workers) == 2
    assert left == set(workers)
    assert "runs already" in second.stderr
    assert done.returncode == 0, done.stderr
    assert api.find(layout) == []
    assert not any(psutil.pid_exists(worker) for worker in workers)


def serves(process: psutil.Process, port: int) -> bool:
    """Whether it listens there."""
    return any(connection.laddr.port == port for connection in process.net_connections("tcp"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", [terminate, pytest.param(press_ctrl_c, marks=pytest.mark.long)])
def test_the_api_ends_and_the_rest_stays(
    layout: Layout, tmp_path: Path, end: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    """SIGTERM and Ctrl-C end the API in order; Ray and Postgres go on, for the next run."""
    log = tmp_path / "log"
    process = serve(layout, free_port(), log)
    (server,) = api.find(layout)
    known = layout.read_state("api")["pid"]
    end(process)
    process.wait(STOP_SECONDS)
    cluster = head.read(layout)
    again = make("setup", layout)

    assert server == known
    assert api.find(layout) == []
    assert "Finished server process" in log.read_text()
    assert cluster is not None
    assert cluster.answers()
    assert again.returncode == 0, again.stderr
    assert head.read(layout) == cluster


@pytest.mark.timeout(600)
def test_stop_ends_the_instance_and_nothing_else(layout: Layout, tmp_path: Path) -> None:
    """API, sandboxes, mounts, Ray and Postgres of one DATA_DIR end; another's sandbox stays.

    The terminal of `make run` tells of no error.
    """
    log = tmp_path / "log"
    process = serve(layout, free_port(), log)
    ours, theirs = labelled(layout.instance()), labelled("ffffffff")
    mounted = layout.sandboxes / "mounted"
    mounted.mkdir()
    run(["mount", "-t", "tmpfs", "tmpfs", str(mounted)])
    try:
        second = make("run", layout, free_port())
        assert second.returncode != 0
        assert "runs already" in second.stderr

        done = make("stop", layout)

        assert process.wait(STOP_SECONDS) == 0, log.read_text()
        assert "***" not in log.read_text()
        assert "SIGTERM" not in log.read_text()
        assert done.returncode == 0, done.stderr
        assert api.find(layout) == []
        assert not os.path.ismount(mounted)
        assert head.read(layout) is None
        assert not layout.short.exists()
        assert not (layout.postgres / "postmaster.pid").exists()
        assert ours not in containers()
        assert theirs in containers()
        assert make("stop", layout).returncode == 0
    finally:
        Engine().docker("rm", "--force", theirs)


def test_stopping_what_never_ran_makes_nothing(tmp_path: Path) -> None:
    """`make stop` on an unknown folder says so and leaves no trace."""
    done = make("stop", Layout.of(tmp_path / "none"))

    assert done.returncode == 0
    assert "Nothing was ever started" in done.stderr
    assert not (tmp_path / "none").exists()
