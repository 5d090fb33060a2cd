"""A second node for the stack's Ray, on this machine, with an environment of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from services.executor import cluster, head
from tests.support.sessions import until
from tests.support.stack import Stack, free_port

PORTS = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent", "metrics-export")
STORE_BYTES = 100_000_000
NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@asynccontextmanager
async def second_node(
    stack: Stack, environment: Mapping[str, str] | None = None, *, cpus: int = 1
) -> AsyncIterator[str]:
    """Have another node, whose id is given; the process is to be connected to Ray already."""
    known = set(cluster.alive_nodes())
    running = await asyncio.create_subprocess_exec(
        *_command(stack, cpus),
        env=head.environment(stack.layout, os.environ) | dict(environment or {}),
        cwd="/",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await _until_there_are(known, 1)
        [added] = set(cluster.alive_nodes()) - known
        yield added
    finally:
        running.terminate()
        await running.wait()
        await _until_there_are(known, 0)


async def _until_there_are(known: set[str], added: int) -> None:
    async def holds() -> bool:
        alive = await cluster.blocking(cluster.alive_nodes)
        return len(set(alive) - known) == added

    await until(holds)


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
