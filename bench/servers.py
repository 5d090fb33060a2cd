"""Servers to measure: processes of their own, with the flags that `make run` serves with."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ops import api
from ops.layout import REPOSITORY
from services.executor.ports import free_port

READY_SECONDS = 60.0
REST_SECONDS = 60
"""How long a connection may rest between two turns; uvicorn's default is 5."""


@contextmanager
def served(application: str, ready_path: str, *flags: str) -> Iterator[tuple[str, int]]:
    """Serve an application; yield its websocket's address and the process's id."""
    port = free_port()
    place = (f"--port={port}", f"--timeout-keep-alive={REST_SECONDS}")
    command = [sys.executable, "-m", "uvicorn", application, *place]
    command += [*api.FLAGS, "--log-level=warning", *flags]
    # One user asks as fast as the server answers, which is what is measured.
    rates = {"OPERATIONS_PER_SECOND": "100000", "OPERATIONS_BURST": "100000"}
    environment = os.environ | rates | {"API_PORT": str(port), "LOG_LEVEL": "WARNING"}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}{ready_path}", process)
        yield f"ws://127.0.0.1:{port}/graphql", process.pid
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=10).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server to measure did not answer at {url}")
