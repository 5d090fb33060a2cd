"""The API of an instance as a process: begun in the foreground, found, and ended."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from ops import venv
from ops.layout import DEFAULT_DATA_DIR, REPOSITORY, Layout
from ops.process import all_processes, command_line, end, parent
from ops.say import CannotError, say
from ops.settings import read_env_file

if TYPE_CHECKING:
    from ops.settings import Settings

APPLICATION = "main:app"
WORKER = ("multiprocessing.spawn", "--multiprocessing-fork")
"""In the arguments of what uvicorn starts for `--workers`, which nothing else of ours does."""
GRACE_SECONDS = 10
WEBSOCKET_BYTES = 4 * 1024 * 1024
"""Of one message; more is not even kept until its sender is known."""
FLAGS = (
    "--loop=uvloop",
    # uvicorn's own, with bounds on what a peer begins and does not finish.
    "--http=app.protocols:HttpProtocol",
    "--ws=app.protocols:WebSocketProtocol",
    f"--ws-max-size={WEBSOCKET_BYTES}",
    # Compressing a stream of output costs more than loopback and LAN gain by it.
    "--ws-per-message-deflate=false",
    "--no-server-header",
)
STOP_SECONDS = GRACE_SECONDS + 5.0


def serve(settings: Settings) -> None:
    """Become the API; returns never. Sandboxes, Ray and Postgres stay when it ends."""
    require_place(settings)
    settings.layout.write_state("api", {"pid": os.getpid(), "port": settings.port})
    say(f"Serving on http://{settings.host}:{settings.port}/graphql")
    os.chdir(REPOSITORY)
    os.execv(str(venv.PYTHON), command(settings))  # noqa: S606 - no shell is wanted


def require_place(settings: Settings) -> None:
    """See that this API does not run, and nobody else where it is to be. Raises `CannotError`."""
    running = find(settings.layout)
    if running:
        raise CannotError(
            f"The API of {settings.layout.data_dir} runs already (process {running[0]}).",
            "make stop, or another DATA_DIR and API_PORT.",
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((settings.host, settings.port))
        except OSError as error:
            raise CannotError(
                f"{settings.host}:{settings.port} can't be listened at: {error.strerror}.",
                "another API_PORT or API_HOST, in .env or before the command.",
            ) from error


def command(settings: Settings, python: Path = venv.PYTHON) -> list[str]:
    """Arguments of the server."""
    return [
        str(python), "-m", "uvicorn", APPLICATION,
        f"--host={settings.host}", f"--port={settings.port}", f"--workers={settings.workers}",
        *FLAGS,
        f"--timeout-graceful-shutdown={GRACE_SECONDS}",
    ]  # fmt: skip


def find(layout: Layout) -> list[int]:
    """Processes that serve this DATA_DIR from this repository, begun by `make run` or by hand.

    The workers of a server are left out, but those that outlived it.
    """
    found = [
        pid
        for pid in all_processes()
        if pid != os.getpid()
        and _serves(command_line(pid))
        and _directory(pid) == REPOSITORY
        and _data_dir(pid) == layout
    ]
    return [pid for pid in found if parent(pid) not in found]


def stop(layout: Layout) -> bool:
    """End the API, gracefully at first; returns whether it ran."""
    running = find(layout)
    # uvicorn ends by both in order, but lets SIGTERM kill it at last, which make calls an error.
    end(running, grace_seconds=STOP_SECONDS, first=signal.SIGINT)
    layout.forget_state("api")
    return bool(running)


def _serves(arguments: str) -> bool:
    is_server = "uvicorn" in arguments and APPLICATION in arguments.split()
    return is_server or all(word in arguments for word in WORKER)


def _directory(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True)
    except OSError:
        return None


def _data_dir(pid: int) -> Layout | None:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return None
    environ = dict(item.partition("=")[::2] for item in content.split("\0"))
    written = read_env_file(REPOSITORY / ".env").get("DATA_DIR")
    return Layout.of(environ.get("DATA_DIR") or written or DEFAULT_DATA_DIR)
