"""Docker engine and gVisor as the set-up brings them up, tried on an engine of the test's own."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.engine import Engine
from ops.gvisor import RUNTIME, Gvisor
from ops.image import LOCAL_BASE, ensure_base
from ops.process import all_processes, command_line, end, run, started_at
from ops.say import CannotError
from ops.settings import DEFAULT_BASE_IMAGE
from ops.stop import unmount_below
from tests.support.engines import engine_in, start_apart

OTHERS = {"max-concurrent-downloads": 2, "runtimes": {"other": {"path": "/usr/bin/other"}}}


@pytest.fixture(scope="module")
def base_image() -> str:
    """Return a base image that this machine's engine has."""
    engine = Engine()
    engine.ensure()
    return ensure_base(engine, DEFAULT_BASE_IMAGE)


@pytest.fixture(scope="module")
def engine(base_image: str) -> Iterator[Engine]:
    """An engine apart from the machine's, with a short socket path and the base image in it."""
    # Not pytest's folder: a socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="sbt-"))
    (folder / "daemon.json").write_text(json.dumps(OTHERS))
    (folder / "exec/containerd").mkdir(parents=True)
    # What a killed engine leaves: an id that nobody has, and one that another program has.
    (folder / "docker.pid").write_text("4194300")
    (folder / "exec/containerd/containerd.pid").write_text(str(os.getpid()))
    one = engine_in(folder)
    start_apart(folder)
    try:
        run(
            ["sh", "-c", f"docker save {base_image} | docker --host {one.host} load"],
            env=one.environment() | {"DOCKER_HOST": ""},
        )
        yield one
    finally:
        # The engine first: it ends its containers, and its containerd, in good order.
        running = one.pid()
        end([running] if running else [])
        end([pid for pid in all_processes() if str(folder) in command_line(pid)])
        unmount_below(folder)
        shutil.rmtree(folder)


def gvisor_of(engine: Engine) -> str:
    """What the command lines of gVisor's processes for this engine have in them."""
    return f"--root={engine.exec_root}/runtime-runc"


def test_starts_over_stale_pid_files_and_not_twice(engine: Engine) -> None:
    """An engine starts where a killed one left its files, and a running one is left alone."""
    pid = engine.pid()

    engine.ensure()

    assert pid is not None
    assert engine.answers()
    assert engine.pid() == pid


def test_gvisor_is_probed_and_merged_into_what_is_configured(
    engine: Engine, base_image: str
) -> None:
    """`runsc` joins the configuration, all else in it stays, and the engine runs on."""
    pid = engine.pid()

    Gvisor(engine, base_image).ensure()

    content = json.loads(engine.config.read_text())
    assert set(content.pop("runtimes")) == {"other", RUNTIME}
    assert content == {"max-concurrent-downloads": 2}
    assert engine.pid() == pid
    assert Gvisor(engine, base_image).works() is None
    assert not [pid for pid in all_processes() if gvisor_of(engine) in command_line(pid)]


def test_a_working_registration_is_not_touched(engine: Engine, base_image: str) -> None:
    """The second set-up writes nothing."""
    Gvisor(engine, base_image).ensure()
    before = engine.config.stat()

    Gvisor(engine, base_image).ensure()

    assert engine.config.stat() == before


def test_a_broken_registration_is_said_and_not_changed(engine: Engine, base_image: str) -> None:
    """A `runsc` that somebody registered stays as it is, with one line about what to do."""
    Gvisor(engine, base_image).ensure()
    good = json.loads(engine.config.read_text())["runtimes"][RUNTIME]
    engine.configure({RUNTIME: {"path": "/usr/bin/false"}})
    before = engine.config.read_text()

    try:
        with pytest.raises(CannotError, match=r"does not work.*To fix it: correct or remove"):
            Gvisor(engine, base_image).ensure()

        assert engine.config.read_text() == before
    finally:
        engine.configure({RUNTIME: good})


@pytest.mark.long
@pytest.mark.usefixtures("engine")
def test_starts_again_after_being_killed(engine: Engine, base_image: str) -> None:
    """A killed engine's container, networks, sockets and pid files stop no new one."""
    engine.docker("run", "-d", "--name=left", "--network=none", base_image, "sleep", "600")
    engine.docker("network", "create", "--driver=bridge", "left-network")
    killed = engine.pid()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    while started_at(killed) is not None:
        os.sched_yield()

    start_apart(engine.config.parent)

    assert engine.answers()
    assert engine.pid() != killed
    engine.docker("rm", "--force", "left")
    engine.docker("network", "rm", "left-network")


@pytest.mark.long
def test_the_local_base_is_made_from_nothing(engine: Engine) -> None:
    """Where no registry answers, debootstrap makes a base whose Python is whole."""
    engine.docker("rmi", LOCAL_BASE)

    made = ensure_base(engine, "registry.invalid/python:none")

    assert made == LOCAL_BASE
    answer = engine.docker(
        "run", "--rm", "--network=none", made,
        "python3", "-I", "-c", "import ctypes, sqlite3, ssl; print('whole')",
    )  # fmt: skip
    assert answer == "whole\n"
    assert json.loads(
        engine.docker("image", "inspect", "--format", "{{json .Config.Cmd}}", made)
    ) == ["python3"]
