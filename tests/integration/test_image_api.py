"""The API's image: built on a local base, started beside a cluster of the same Python."""

import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ops import api_image
from ops.engine import Engine
from ops.image import Base, ensure_base
from ops.settings import DEFAULT_BASE_IMAGE
from ops.uv import Uv
from services.executor.ports import free_port, free_ports

START_SECONDS = 120.0
TOKEN = "/run/ray_token"
RAY = ("-e", "RAY_AUTH_MODE=token", "-e", f"RAY_AUTH_TOKEN_PATH={TOKEN}")


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Return the machine's engine, running."""
    one = Engine()
    one.ensure()
    return one


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """Return the name of an image of the API as it is now."""
    base = Base.probe(engine, ensure_base(engine, DEFAULT_BASE_IMAGE))
    return api_image.build(engine, Uv().ensure(), base)


@contextmanager
def container(engine: Engine, *arguments: str) -> Iterator[str]:
    """Have a container for the length of a block."""
    name = engine.docker("run", "-d", "--network=host", *arguments).strip()
    try:
        yield name
    finally:
        engine.docker("rm", "-f", "-v", name)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster's token, as a file that the image's user can read."""
    folder = tmp_path_factory.mktemp("token")
    path = folder / "ray_token"
    path.write_text(secrets.token_hex(32))
    path.chmod(0o644)
    return path


@pytest.fixture(scope="module")
def cluster(engine: Engine, image: str, token: Path) -> Iterator[str]:
    """Address of a Ray cluster that others run."""
    port, client_port, agent_port = free_ports(3)
    arguments = (
        *RAY, "-e", "GRPC_ENABLE_FORK_SUPPORT=0",
        "-v", f"{token}:{TOKEN}:ro", "--shm-size=512m", "--entrypoint=python3", image,
        "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}",
        f"--ray-client-server-port={client_port}", "--min-worker-port=0", "--max-worker-port=0",
        f"--dashboard-agent-listen-port={agent_port}", "--object-store-memory=200000000",
        "--include-dashboard=false", "--disable-usage-stats",
    )  # fmt: skip
    with container(engine, *arguments) as name:
        wait_for(lambda: is_open(client_port), engine, name)
        yield f"ray://127.0.0.1:{client_port}"


def is_open(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Whether the API says that it is up."""
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], engine: Engine, name: str) -> None:
    """Wait until it holds; a container that has ended fails with its log."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        running = engine.docker("inspect", "--format", "{{.State.Running}}", name).strip()
        if running != "true" or time.monotonic() > deadline:
            pytest.fail(log(name))
        time.sleep(0.2)


def log(name: str) -> str:
    """What a container has printed."""
    done = subprocess.run(
        ["docker", "logs", "--tail=40", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.timeout(600)
def test_without_a_cluster_it_says_so(image: str) -> None:
    """The image starts nothing of its own: without RAY_ADDRESS it ends with one line."""
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", image],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "RAY_ADDRESS is empty" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.timeout(600)
def test_it_serves_without_root_and_without_docker(
    engine: Engine, image: str, cluster: str, token: Path
) -> None:
    """On a cluster it answers /health as a plain user, with no way to Docker, and ends in order."""
    port = free_port()
    variables = {
        "RAY_ADDRESS": cluster,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "SUPABASE_JWT_SECRET": secrets.token_hex(32),
        "SECRET_KEY": secrets.token_hex(32),
        "API_HOST": "127.0.0.1",
        "API_PORT": str(port),
    }
    given = [part for item in variables.items() for part in ("-e", "=".join(item))]

    with container(
        engine, *RAY, *given, "-v", f"{token}:{TOKEN}:ro",
        "--cap-drop=ALL", "--security-opt=no-new-privileges", image,
    ) as name:  # fmt: skip
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), engine, name)

        assert engine.docker("exec", name, "id", "-u").strip() == "10001"
        script = (
            "import os, shutil;"
            "print(os.path.exists('/var/run/docker.sock'), shutil.which('docker'))"
        )
        assert engine.docker("exec", name, "python3", "-c", script).split() == ["False", "None"]
        engine.docker("stop", "--time=30", name)
        code = engine.docker("inspect", "--format", "{{.State.ExitCode}}", name).strip()
        assert code == "0", log(name)
