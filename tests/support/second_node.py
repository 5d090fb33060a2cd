"""A second node for the stack's Ray, on this machine, with an environment of its own."""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import ray

from services.executor import cluster, head
from services.executor.ports import free_port
from tests.support.sessions import until
from tests.support.stack import Stack

PORTS = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent", "metrics-export")
ATTEMPTS = 3
STORE_BYTES = 100_000_000
NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@asynccontextmanager
async def second_node(
    stack: Stack, environment: Mapping[str, str] | None = None, *, cpus: int = 1
) -> AsyncIterator[str]:
    """Have another node, whose id is given; the process is to be connected to Ray already."""
    known = set(cluster.alive_nodes())
    process = await _joined(stack, environment, cpus, known)
    try:
        [added] = set(cluster.alive_nodes()) - known
        yield added
    finally:
        await _end(process)
        await until(lambda: _are_there(known, 0))


def kill_node(node_id: str) -> None:
    """End a node's raylet with SIGKILL, as a machine that loses its power ends it."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    [socket] = [each["RayletSocketName"] for each in nodes if each["NodeID"] == node_id]
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if process.name() == "raylet" and socket in " ".join(process.cmdline()):
                process.kill()


async def _joined(
    stack: Stack, environment: Mapping[str, str] | None, cpus: int, known: set[str]
) -> Process:
    """Start its process; Ray ends one again where another process took one of its ports."""
    with tempfile.TemporaryFile() as said:
        for _ in range(ATTEMPTS):
            process = await asyncio.create_subprocess_exec(
                *_command(stack, cpus),
                env=head.environment(stack.layout, os.environ) | dict(environment or {}),
                cwd="/",
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            try:
                await until(partial(_has_joined_or_ended, process, known))
            except BaseException:
                await _end(process)
                raise
            if process.returncode is None:
                return process
        said.seek(0)
        raise RuntimeError(f"no second node: {said.read().decode(errors='replace')}")


async def _has_joined_or_ended(process: Process, known: set[str]) -> bool:
    return process.returncode is not None or await _are_there(known, 1)


async def _end(process: Process) -> None:
    """End it. Its raylet is told first: one that is killed is missed only half a minute later."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.name() == "raylet":
                child.terminate()
    with suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


async def _are_there(known: set[str], added: int) -> bool:
    alive = await cluster.blocking(cluster.alive_nodes)
    return len(set(alive) - known) == added


def _command(stack: Stack, cpus: int) -> list[str]:
    return [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--block",
        f"--address={stack.state('ray')['address']}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        *(f"--{name}-port={free_port()}" for name in PORTS),
        f"--num-cpus={cpus}",
        f"--object-store-memory={STORE_BYTES}",
        "--disable-usage-stats",
    ]
