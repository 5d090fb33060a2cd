"""The local Ray head of a DATA_DIR: `python -m services.executor.head start|stop|status`.

It is nobody's child, so that sandboxes outlive the API; it knows nothing of the API's
environment; and it ends by the ids of its own processes, because `ray stop` ends every Ray
on the machine.
"""

import argparse
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from ops.layout import Layout, write_once
from services.executor.ports import free_ports

HOST = "127.0.0.1"
START_SECONDS = 90.0
ANSWER_SECONDS = 2.0
TERM_SECONDS = 2.0
TOKEN_BYTES = 32
# Sandboxes pass small messages; the default would reserve a third of the memory.
OBJECT_STORE_BYTES = 512 * 1024 * 1024
ATTEMPTS = 3
# In the environment of all that the head begins, and of nothing else.
MARK = "RAY_SANDBOX_API_INSTANCE"


class HeadError(Exception):
    """The head did not start; the message holds what Ray said."""


@dataclass(frozen=True)
class Head:
    """A head that runs, or ran: as `state/ray.json` keeps it."""

    address: str
    client_address: str
    temp_dir: str
    pids: list[int] = field(default_factory=list)
    started: list[float] = field(default_factory=list)

    def processes(self) -> list[psutil.Process]:
        """What still runs of the processes that were started; ids used again don't count."""
        alive = []
        for pid, started in zip(self.pids, self.started, strict=True):
            try:
                process = psutil.Process(pid)
                if process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
            except psutil.NoSuchProcess:
                continue
        return alive

    def answers(self) -> bool:
        """Whether all of it runs and both doors are open."""
        return (
            bool(self.pids)
            and len(self.processes()) == len(self.pids)
            and _open(self.address)
            and _open(self.client_address.removeprefix("ray://"))
        )


def start(layout: Layout) -> Head:
    """Have a head running, and return it; raises `HeadError`. One at a time per DATA_DIR."""
    layout.prepare()
    with _lock(layout):
        present = read(layout)
        if present is not None and present.answers():
            return present
        _end(layout, present)
        write_once(layout.ray_token, secrets.token_hex(TOKEN_BYTES), mode=0o600)
        head = _start(layout)
        layout.write_state("ray", asdict(head))
        return head


def stop(layout: Layout) -> bool:
    """End the head's processes, and only those; returns whether there were any."""
    with _lock(layout):
        ended = _end(layout, read(layout))
        layout.forget_state("ray")
        return ended


def read(layout: Layout) -> Head | None:
    """The head that was last started here, running or not."""
    content = layout.read_state("ray")
    return Head(**content) if content else None


def environment(layout: Layout, environ: Mapping[str, str]) -> dict[str, str]:
    """All that the head, and so every actor, gets to see of an environment."""
    kept = {name: value for name, value in environ.items() if name.startswith("RAY_")}
    kept.pop("RAY_ADDRESS", None)
    programs = Path(sys.executable).parent
    return {
        **kept,
        "PATH": f"{programs}:{environ.get('PATH', os.defpath)}",
        "HOME": environ.get("HOME", "/"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(layout.ray_token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Sandboxes are held to their memory by Docker; Ray would end them for a neighbour's.
        "RAY_memory_monitor_refresh_ms": "0",
        # Ray's default of 15 would have an actor wait behind the sandboxes that it serves.
        "RAY_worker_niceness": "0",
        # Else gRPC's own threads wake up in the forks from which the doors for `ray://` are begun,
        # and one in four of those ends with "ev_epoll1_linux.cc: Check failed" (Ray 2.60).
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        MARK: layout.instance(),
    }


def _start(layout: Layout) -> Head:
    said = ""
    for _ in range(ATTEMPTS):
        head = _new_head(layout)
        command = _command(head, layout)
        try:
            done = subprocess.run(  # noqa: S603 - our own program with arguments of our own
                command,
                env=environment(layout, os.environ),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=START_SECONDS,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            said = f"`ray start` did not end in {START_SECONDS:.0f} s."
        else:
            said = done.stdout
            if done.returncode == 0:
                return _with_processes(head, layout)
        # Another process may have taken one of the ports in between: once more, on others.
        _end(layout, head)
    raise HeadError(said)


def _new_head(layout: Layout) -> Head:
    port, client_port = free_ports(2)
    return Head(f"{HOST}:{port}", f"ray://{HOST}:{client_port}", str(layout.short / "ray"))


def _command(head: Head, layout: Layout) -> list[str]:
    agents = dict(
        zip(
            (
                "dashboard-agent-listen",
                "dashboard-agent-grpc",
                "runtime-env-agent",
                "metrics-export",
            ),
            free_ports(4),
            strict=True,
        )
    )
    layout.short.mkdir(exist_ok=True)
    return [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        f"--port={head.address.rpartition(':')[2]}",
        f"--ray-client-server-port={head.client_address.rpartition(':')[2]}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        *(f"--{name}-port={port}" for name, port in agents.items()),
        f"--temp-dir={head.temp_dir}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--disable-usage-stats",
        "--log-color=false",
    ]


def _with_processes(head: Head, layout: Layout) -> Head:
    """The head with its lasting processes; workers come and go."""
    found = sorted(
        (process.pid, process.create_time())
        for process in _belonging(layout)
        if process.name() in ("gcs_server", "raylet")
        or "ray.util.client.server" in process.cmdline()
    )
    return replace(head, pids=[pid for pid, _ in found], started=[started for _, started in found])


def _belonging(layout: Layout) -> list[psutil.Process]:
    """Processes that were begun with the instance's mark, and all that they have begun."""
    instance = layout.instance()
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == instance:
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return list(found.values())


def _end(layout: Layout, head: Head | None) -> bool:
    processes = {process.pid: process for process in _belonging(layout)}
    if head is not None:
        processes |= {process.pid: process for process in head.processes()}
    alive = list(processes.values())
    # The GCS waits for its clients, so it may need the second.
    for signal, seconds in ((psutil.Process.terminate, TERM_SECONDS), (psutil.Process.kill, 10.0)):
        for process in alive:
            try:
                signal(process)
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(alive, timeout=seconds)
    shutil.rmtree(layout.short / "ray", ignore_errors=True)
    return bool(processes)


@contextmanager
def _lock(layout: Layout) -> Iterator[None]:
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / "ray.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False


def main() -> int:
    """Command line; prints the head's address where one runs."""
    parser = argparse.ArgumentParser(description="The local Ray head of a DATA_DIR.")
    parser.add_argument("verb", choices=("start", "stop", "status"))
    parser.add_argument("--data-dir", required=True)
    arguments = parser.parse_args()
    layout = Layout.of(arguments.data_dir)
    if arguments.verb == "stop":
        _say("stopped" if stop(layout) else "not running")
        return 0
    try:
        head = start(layout) if arguments.verb == "start" else read(layout)
    except HeadError as error:
        sys.stderr.write(f"Ray did not start: {error}\n")
        return 1
    running = head is not None and head.answers()
    _say(head.address if head is not None and running else "not running")
    return 0 if running else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
