"""The real stack for tests: Postgres, Ray, Docker and gVisor below a DATA_DIR of the tests' own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import httpx

from ops import api
from ops.layout import REPOSITORY, Layout
from services.executor.ports import free_port

DEFAULT_DATA_DIR = ".data-test"
READY_SECONDS = 90.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Stack:
    """Services that run, and what an API process needs to find them."""

    layout: Layout

    @property
    def instance(self) -> str:
        """The instance's name, eight hexadecimal characters."""
        return (self.layout.data_dir / "instance").read_text().strip()

    def state(self, name: str) -> dict[str, str]:
        """Read one of the files that the set-up wrote."""
        found: dict[str, str] = json.loads((self.layout.state / f"{name}.json").read_text())
        return found

    def token(self, user: UUID | None = None) -> str:
        """Sign a development token."""
        command = [sys.executable, "-m", "app.token", "--sub", str(user or uuid4())]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment(), capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def environment(self, **variables: str) -> dict[str, str]:
        """Return an environment in which the project's commands use this stack."""
        return os.environ | {"DATA_DIR": str(self.layout.data_dir)} | variables

    def containers(self) -> list[str]:
        """List the instance's containers, running or not."""
        return docker(
            "ps", "--all", "--quiet", "--filter", f"label=sandbox-api.instance={self.instance}"
        ).split()


def docker(*arguments: str) -> str:
    """Run Docker's client and return what it printed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, check=True)
    return done.stdout.decode()


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Have Postgres and Ray running, set up as `make setup` does; `make test` ends them."""
    data_dir = os.environ.get("DATA_DIR", DEFAULT_DATA_DIR)
    stack = Stack(Layout.of(data_dir))
    environment = stack.environment()
    subprocess.run(
        [sys.executable, "-m", "ops", "setup"], cwd=REPOSITORY, env=environment, check=True
    )
    # Whoever asks first makes the instance's secrets, and some tests only read them.
    stack.token()
    yield stack


@dataclass(frozen=True)
class Server:
    """One API process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it with SIGTERM and return its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


def start_server(
    stack: Stack, *, log: Path, application: str = api.APPLICATION, **variables: str
) -> Server:
    """Start an API process and wait until it is ready."""
    return start_process(application, log, stack.environment(**variables))


def start_process(
    application: str, log: Path, environment: Mapping[str, str], *flags: str
) -> Server:
    """Serve an application as `make run` does, and wait until it is ready."""
    port = free_port()
    environment = {**environment, "API_PORT": str(port)}
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port)]
    command += [*api.FLAGS, *flags]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_ready(server)
    except BaseException:
        server.kill()
        raise
    return server


@contextmanager
def running_server(
    stack: Stack, *, log: Path, application: str = api.APPLICATION, **variables: str
) -> Iterator[Server]:
    """Have an API process for the length of a block."""
    server = start_server(stack, log=log, application=application, **variables)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def _wait_ready(server: Server) -> None:
    deadline = time.monotonic() + READY_SECONDS
    answer: httpx.Response | None = None
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"the API ended:\n{server.log.read_text()[-4000:]}")
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{server.url}/ready", timeout=30)
            if answer.status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the API is not ready: {answer and answer.text}\n{server.log.read_text()}")
