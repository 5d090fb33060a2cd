"""Jupyter Kernel Gateway: its default kernel, unsandboxed, over one open websocket.

The gateway leaves Nagle's algorithm on and answers in several small messages, so that a client
as the system makes it gets its first output only after its own delayed acknowledgement, 40 ms on
Linux. `"acknowledge": true` takes that away: what the gateway and the kernel themselves cost.
"""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench.peers import lines

START_SECONDS = 60.0
KERNEL_SECONDS = 1.0


@asynccontextmanager
async def opened(options: Mapping[str, Any]) -> AsyncIterator[lines.Once]:
    """Start a gateway and one kernel, and wait until it answers."""
    with _gateway() as (address, token):
        kernel = await asyncio.to_thread(_kernel, address, token)
        session = uuid.uuid4().hex
        async with connect(
            f"ws://{address}/api/kernels/{kernel}/channels?session_id={session}",
            additional_headers={"Authorization": f"token {token}"},
            max_size=None,
        ) as connection:
            channels = _Channels(connection, acknowledge=bool(options["acknowledge"]))
            await _answers(channels, session)

            async def once() -> tuple[float, float]:
                return await _execute(channels, session)

            yield once


@contextmanager
def _gateway() -> Iterator[tuple[str, str]]:
    token = secrets.token_hex(16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        # Nothing of the user's own: configurations, kernels, start-up files.
        own = {"JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"}
        environment = os.environ | {name: f"{folder}/{name.lower()}" for name in own}
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kernel_gateway",
                "--KernelGatewayApp.ip=127.0.0.1",
                f"--KernelGatewayApp.port={port}",
                "--KernelGatewayApp.port_retries=0",
                "--KernelGatewayApp.log_level=ERROR",
            ],
            env=environment | {"KG_AUTH_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield f"127.0.0.1:{port}", token
        finally:
            process.terminate()
            process.wait()


def _kernel(address: str, token: str) -> str:
    """Start a kernel as soon as the gateway is there; return its id."""
    request = urllib.request.Request(
        f"http://{address}/api/kernels",
        data=json.dumps({"name": "python3"}).encode(),
        headers={"Authorization": f"token {token}"},
    )
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
                return str(json.load(answer)["id"])
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _message(session: str, kind: str, content: Mapping[str, object]) -> tuple[str, str]:
    """Return a message's id, and the message."""
    identity = uuid.uuid4().hex
    header = {
        "msg_id": identity,
        "session": session,
        "username": "bench",
        "msg_type": kind,
        "version": "5.3",
        "date": "",
    }
    return identity, json.dumps(
        {
            "channel": "shell",
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "buffers": [],
        }
    )


class _Channels:
    """The websocket, acknowledging at once what comes where that is asked for."""

    def __init__(self, connection: ClientConnection, *, acknowledge: bool) -> None:
        self._connection = connection
        self._acknowledge = acknowledge
        self._socket = connection.transport.get_extra_info("socket")

    async def send(self, text: str) -> None:
        self._acknowledge_at_once()
        await self._connection.send(text)

    async def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._connection.recv())
        self._acknowledge_at_once()
        return answer

    def _acknowledge_at_once(self) -> None:
        # The kernel forgets it after a while.
        if self._acknowledge:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _answers(channels: _Channels, session: str) -> None:
    """Ask the kernel about itself until it answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        identity, text = _message(session, "kernel_info_request", {})
        await channels.send(text)
        try:
            async with asyncio.timeout(KERNEL_SECONDS):
                while True:
                    answer = await channels.receive()
                    if (
                        answer["msg_type"] == "kernel_info_reply"
                        and answer["parent_header"].get("msg_id") == identity
                    ):
                        return
        except TimeoutError:
            continue
    raise RuntimeError("the kernel did not answer")


async def _execute(channels: _Channels, session: str) -> tuple[float, float]:
    """Run the code; its end is where the reply and the kernel's idleness have both come."""
    content = {
        "code": lines.CODE,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    began = time.perf_counter()
    identity, text = _message(session, "execute_request", content)
    await channels.send(text)
    first = 0.0
    said = ""
    awaited = {"execute_reply", "idle"}
    while awaited:
        answer = await channels.receive()
        if answer["parent_header"].get("msg_id") != identity:
            continue
        if answer["msg_type"] == "stream":
            first = first or time.perf_counter() - began
            said += answer["content"]["text"]
        awaited -= {answer["msg_type"], answer["content"].get("execution_state")}
    taken = time.perf_counter() - began
    if said != lines.SAID:
        raise RuntimeError(f"the kernel said {said!r}")
    return first, taken


if __name__ == "__main__":
    lines.main("jupyter-kernel-gateway", opened)
