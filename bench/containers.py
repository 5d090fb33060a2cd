"""What Docker gives under gVisor: a raw stream, `docker exec`, `docker run`."""

import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker
from docker.models.containers import Container

from app.settings import MIB, Settings
from bench.turns import CODE, SAID, Once
from services.executor.containers import CPU_PERIOD_MICROSECONDS

HEADER = struct.Struct(">BxxxI")
LABEL = "sandbox-api.bench"
ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line), sys.stdout.flush()"


def limits(settings: Settings) -> dict[str, str | int]:
    """Return Docker's options that bound a container as our own sandboxes are bound."""
    memory = settings.sandbox_memory_mib * MIB
    return {
        "runtime": settings.sandbox_runtime,
        "network_mode": "none",
        "mem_limit": memory,
        "memswap_limit": memory,
        "cpu_period": CPU_PERIOD_MICROSECONDS,
        "cpu_quota": int(settings.sandbox_cpus * CPU_PERIOD_MICROSECONDS),
    }


@contextmanager
def labelled(client: docker.DockerClient) -> Iterator[dict[str, str]]:
    """Yield labels for containers of others' making; what is left of them is removed."""
    labels = {LABEL: str(os.getpid())}
    try:
        yield labels
    finally:
        wanted = [f"{name}={value}" for name, value in labels.items()]
        for container in client.containers.list(all=True, filters={"label": wanted}):
            container.remove(force=True)


@contextmanager
def kept_running(
    client: docker.DockerClient, image: str, options: Mapping[str, Any]
) -> Iterator[Container]:
    """Start a container that does nothing; it is removed in the end."""
    container = client.containers.run(image, ["sleep", "infinity"], detach=True, **options)
    try:
        yield container
    finally:
        container.remove(force=True)


@contextmanager
def raw_stream(client: docker.DockerClient, container: Container) -> Iterator[Once]:
    """A line there and back over one attached exec stream: what the sandbox itself costs."""
    made = client.api.exec_create(container.id, ["python3", "-I", "-c", ECHO], stdin=True)
    # Its type differs by transport, and none of them is public.
    attached: Any = client.api.exec_start(made["Id"], socket=True)
    stream: socket.socket = attached._sock

    async def once() -> tuple[float, float]:
        began = time.perf_counter()
        stream.sendall(SAID.encode())
        stream.recv(HEADER.size + len(SAID))
        taken = time.perf_counter() - began
        return taken, taken

    yield once


def docker_exec(client: docker.DockerClient, container: Container) -> Once:
    """A new interpreter for each run, in a container that is there already.

    By Docker's API: the command `docker` would add its own start.
    """

    async def once() -> tuple[float, float]:
        began = time.perf_counter()
        made = client.api.exec_create(container.id, ["python3", "-c", CODE])
        first = 0.0
        text = b""
        for part in client.api.exec_start(made["Id"], stream=True):
            first = first or time.perf_counter() - began
            text += part
        taken = time.perf_counter() - began
        if text != SAID.encode():
            raise RuntimeError(f"docker exec said {text!r}")
        return first, taken

    return once


def docker_run(client: docker.DockerClient, image: str, options: Mapping[str, Any]) -> float:
    """Return the seconds of `docker run` of a one-liner."""
    began = time.perf_counter()
    client.containers.run(image, ["python3", "-c", CODE], remove=True, **options)
    return time.perf_counter() - began
