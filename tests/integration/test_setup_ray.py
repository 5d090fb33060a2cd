"""The local Ray head, for real."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ops.layout import REPOSITORY, Layout
from services.executor import head

DRIVER = """
import os, ray, sys
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
@ray.remote(num_cpus=0.05, memory=256 * 2**20)
class Idle:
    def environment(self):
        return dict(os.environ)
count = int(sys.argv[2])
actors = [Idle.options(lifetime="detached", name=f"idle-{n}").remote() for n in range(count)]
seen = [ray.get(actor.environment.remote(), timeout=200) for actor in actors]
print(sorted(seen[0]) if seen else ray.cluster_resources()["CPU"])
"""


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """A DATA_DIR of the test's own, with nothing left of it afterwards."""
    with tempfile.TemporaryDirectory(prefix="sbt-") as folder:
        one = Layout.of(folder)
        yield one
        head.stop(one)
        one.short.rmdir()


@pytest.fixture
def running(layout: Layout) -> head.Head:
    """Return a head that runs."""
    return head.start(layout)


def drive(address: str, layout: Layout, actors: int) -> subprocess.CompletedProcess[str]:
    """Run a driver as a process of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(layout.ray_token),
    }
    return subprocess.run(
        [sys.executable, "-c", DRIVER, address, str(actors)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_a_second_start_finds_the_first(layout: Layout, running: head.Head) -> None:
    """Starting is idempotent, from another process too."""
    done = subprocess.run(
        [sys.executable, "-m", "services.executor.head", "start", "--data-dir", layout.data_dir],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == running.address
    assert head.read(layout) == running
    assert running.answers()


def test_both_doors_open_to_the_token(layout: Layout, running: head.Head) -> None:
    """A driver with the token gets in by the cluster's address and by the client's."""
    for address in (running.address, running.client_address):
        done = drive(address, layout, 0)

        assert done.returncode == 0, done.stderr
        assert float(done.stdout) >= 1


@pytest.mark.long
@pytest.mark.timeout(400)
def test_idle_sandboxes_fit_and_know_nothing_of_our_environment(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 reservations fit, and an actor's environment holds no secret of who started the head."""
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "made-up")
    monkeypatch.setenv("DATABASE_URL", "postgresql://made-up")
    head.stop(layout)
    started = head.start(layout)

    done = drive(started.address, layout, 32)

    assert done.returncode == 0, done.stderr
    assert "SUPABASE_JWT_SECRET" not in done.stdout
    assert "DATABASE_URL" not in done.stdout


@pytest.mark.long
def test_a_head_that_lost_a_part_is_started_anew(layout: Layout, running: head.Head) -> None:
    """Where one of its processes was killed, the rest goes and a new head comes."""
    before = running.processes()
    before[0].kill()
    before[0].wait(10)

    anew = head.start(layout)

    assert anew.answers()
    assert not set(anew.pids) & set(running.pids)
    assert not psutil.wait_procs(before, timeout=10)[1]


@pytest.mark.long
def test_stop_ends_this_head_and_no_other(layout: Layout, running: head.Head) -> None:
    """Another instance's head stays when one is stopped, and nothing of the stopped one does."""
    with tempfile.TemporaryDirectory(prefix="sbt-") as folder:
        other_layout = Layout.of(folder)
        other = head.start(other_layout)
        try:
            session = os.getsid(running.pids[0])

            assert head.stop(layout)

            assert other.answers()
            assert not running.processes()
            assert not [pid for pid in psutil.pids() if session_of(pid) == session]
            assert not Path(running.temp_dir).exists()
            assert head.read(layout) is None
            assert not head.stop(layout)
        finally:
            head.stop(other_layout)
            other_layout.short.rmdir()


def session_of(pid: int) -> int:
    """The session of a process, 0 where it is gone."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
