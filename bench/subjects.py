"""What is measured: each subject says hi once and tells how long its first output took."""

import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import docker
import ray
from rayai.sandbox import cleanup_session, execute_code

from app.demo import Client

CODE = 'print("hi")'
RUN = """
subscription ($input: ExecuteCodeInput!) { executeCode(input: $input) {
  __typename ... on OutputChunk { text } } }
"""
ITEM = "subscription { item }"
DOCKER_HEADER = struct.Struct(">BxxxI")
ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line), sys.stdout.flush()"

Once = Callable[[], Awaitable[tuple[float, float]]]
"""Runs once; returns the seconds to the first output and to the end."""


@asynccontextmanager
async def opened(url: str, token: str) -> AsyncIterator[Client]:
    """Open a websocket."""
    async with AsyncExitStack() as stack:
        yield await Client.open(stack, url, token)


@asynccontextmanager
async def subscription(url: str, token: str, sandbox_id: str) -> AsyncIterator[Once]:
    """Our `executeCode`, over one open websocket."""
    async with AsyncExitStack() as stack:
        client = await Client.open(stack, url, token)
        variables: dict[str, object] = {"input": {"sandboxId": sandbox_id, "code": CODE}}

        async def once() -> tuple[float, float]:
            began = time.perf_counter()
            first = 0.0
            async for data in client.results(RUN, variables):
                if not first and data["executeCode"]["__typename"] == "OutputChunk":
                    first = time.perf_counter() - began
            return first, time.perf_counter() - began

        yield once


@asynccontextmanager
async def bare_subscription(url: str) -> AsyncIterator[Once]:
    """Strawberry's own subscription of one item, over one open websocket."""
    async with AsyncExitStack() as stack:
        client = await Client.open(stack, url, "")

        async def once() -> tuple[float, float]:
            began = time.perf_counter()
            first = 0.0
            async for _ in client.results(ITEM):
                first = first or time.perf_counter() - began
            return first, time.perf_counter() - began

        yield once


@contextmanager
def stock_tool(image: str) -> Iterator[Once]:
    """ray-agents' `execute_code` on a session of its own, its stock executor under gVisor."""
    session = f"bench-{time.time_ns()}"
    # Its executor holds a whole CPU, and on two cores its tool would wait for one without end.
    tool, clean_up = execute_code.options(num_cpus=0), cleanup_session.options(num_cpus=0)

    async def once() -> tuple[float, float]:
        began = time.perf_counter()
        result = await tool.remote(CODE, session_id=session, image=image)
        if result.get("stdout") != "hi\n":
            raise RuntimeError(f"ray-agents answered {result}")
        taken = time.perf_counter() - began
        return taken, taken

    try:
        yield once
    finally:
        ray.get(clean_up.remote(session))


@contextmanager
def raw_stream(image: str) -> Iterator[Once]:
    """A line there and back over one attached exec stream: what the sandbox itself costs."""
    client = docker.from_env()
    container = client.containers.run(
        image, ["sleep", "infinity"], runtime="runsc", network_mode="none", detach=True
    )
    made = client.api.exec_create(container.id, ["python3", "-I", "-c", ECHO], stdin=True)
    # Its type differs by transport, and none of them is public.
    attached: Any = client.api.exec_start(made["Id"], socket=True)
    stream: socket.socket = attached._sock

    async def once() -> tuple[float, float]:
        began = time.perf_counter()
        stream.sendall(b"hi\n")
        stream.recv(DOCKER_HEADER.size + 3)
        taken = time.perf_counter() - began
        return taken, taken

    try:
        yield once
    finally:
        container.remove(force=True)
        client.close()


def docker_run(image: str) -> float:
    """Return the seconds of `docker run` of a one-liner, under gVisor."""
    client = docker.from_env()
    try:
        began = time.perf_counter()
        client.containers.run(
            image, ["python3", "-c", CODE], runtime="runsc", network_mode="none", remove=True
        )
        return time.perf_counter() - began
    finally:
        client.close()
