"""The Docker engine: installed where missing, started where it is not running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops import apt
from ops.process import (
    SYSTEM_PATH,
    CommandError,
    all_processes,
    command_line,
    run,
    send,
    started_at,
    tool,
)
from ops.say import CannotError, say, step

START_SECONDS = 60.0
# setsid needs a moment to become dockerd.
SETTLE_SECONDS = 1.0
SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True)
class Engine:
    """An engine by its paths; the default ones are those of Debian's package."""

    host: str | None = None
    pid_file: Path = Path("/var/run/docker.pid")
    exec_root: Path = Path("/var/run/docker")
    config: Path = Path("/etc/docker/daemon.json")
    log: Path = Path("/var/log/dockerd.log")
    options: Sequence[str] = field(default_factory=tuple)

    def docker(self, *arguments: str, timeout: float | None = 60.0) -> str:
        """Standard output of a docker command; raises `CommandError`."""
        client = tool("docker") or "docker"
        return run([client, *self.where, *arguments], env=self.environment(), timeout=timeout)

    @property
    def where(self) -> list[str]:
        """Options that lead a docker client to this engine."""
        return [] if self.host is None else ["--host", self.host]

    def environment(self) -> dict[str, str]:
        """What a docker client of this engine needs around it."""
        # The classic builder needs no plug-in of the client, whatever its version.
        host = {} if self.host is None else {"DOCKER_HOST": self.host}
        return {**os.environ, "DOCKER_BUILDKIT": "0", **host}

    def answers(self) -> bool:
        """Whether the engine takes commands."""
        try:
            self.docker("info", "--format", "{{.ServerVersion}}", timeout=20.0)
        except CommandError:
            return False
        return True

    def ensure(self) -> None:
        """Have it running; raises `CannotError` with what would help."""
        if self.answers():
            return
        if tool("dockerd") is None or tool("docker") is None:
            apt.install("docker.io", "iptables", "ca-certificates")
        if self.answers():
            return
        with step("Starting the Docker engine"):
            if SYSTEMD.exists() and self.host is None:
                self._start_by_systemd()
            else:
                self.start_by_hand()

    def _start_by_systemd(self) -> None:
        try:
            run(["systemctl", "start", "docker"], timeout=START_SECONDS)
        except CommandError as error:
            raise CannotError(error.reason, "journalctl -u docker") from error
        self._wait("journalctl -u docker")

    def start_by_hand(self) -> None:
        """Start dockerd as nobody's child: what this process becomes must not have to reap it."""
        self.forget_the_dead()
        self._require_config()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            subprocess.run(
                [
                    tool("setsid") or "setsid",
                    "--fork",
                    tool("dockerd") or "dockerd",
                    *self.where,
                    f"--pidfile={self.pid_file}",
                    f"--exec-root={self.exec_root}",
                    f"--config-file={self.config}",
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # iptables is in sbin, which a user's PATH may lack.
                env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"},
                check=True,
            )
        self._wait(str(self.log), by_hand=True)

    def _require_config(self) -> None:
        """Have a configuration: dockerd refuses to start where one that is named is missing."""
        if not self.config.exists():
            self.config.parent.mkdir(parents=True, exist_ok=True)
            self.config.write_text("{}\n")

    def _wait(self, log: str, *, by_hand: bool = False) -> None:
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS:
            if self.answers():
                return
            if by_hand and time.monotonic() - began > SETTLE_SECONDS and not self._starting():
                raise CannotError(
                    f"dockerd has ended: {last_line(self.log)}",
                    f"see {log}, then run `dockerd` by hand.",
                )
            time.sleep(0.2)
        raise CannotError(
            f"The Docker engine does not answer after {START_SECONDS:.0f} s.", f"see {log}."
        )

    def _starting(self) -> bool:
        mark = f"--pidfile={self.pid_file}"
        return any(mark in command_line(pid).split() for pid in all_processes())

    def forget_the_dead(self) -> None:
        """Remove what a killed engine left, where ids and sockets would stop the next one."""
        forget_pid(self.pid_file, "dockerd")
        forget_pid(self.exec_root / "containerd/containerd.pid", "containerd")
        if self.host is None:
            # dockerd takes this socket's being there for a containerd that runs.
            forget_socket(Path("/run/containerd/containerd.sock"))

    def pid(self) -> int | None:
        """Process id of the running engine, None where it is not on this machine."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if "dockerd" in command_line(pid) else None

    def runtimes(self) -> set[str]:
        """Names of the registered runtimes."""
        return set(json.loads(self.docker("info", "--format", "{{json .Runtimes}}")))

    def configure(self, runtimes: dict[str, dict[str, object] | None]) -> None:
        """Add runtimes to the engine's configuration, or take them out (None), and reload it.

        All else in the file stays; running containers notice nothing.
        """
        text = self.config.read_text() if self.config.exists() else ""
        content = json.loads(text) if text.strip() else {}
        registered = content.setdefault("runtimes", {})
        for name, runtime in runtimes.items():
            if runtime is None:
                registered.pop(name, None)
            else:
                registered[name] = runtime
        self.config.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.config.with_suffix(".json.new")
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(self.config)
        self._reload({name for name, runtime in runtimes.items() if runtime is not None})

    def _reload(self, expected: set[str]) -> None:
        pid = self.pid()
        if pid is None:
            raise CannotError(
                f"The running Docker engine's process was not found by {self.pid_file}.",
                "restart the engine, so that it reads " + str(self.config),
            )
        send(pid, signal.SIGHUP)
        deadline = time.monotonic() + 10.0
        while not expected <= self.runtimes():
            if time.monotonic() > deadline:
                raise CannotError(
                    f"The Docker engine did not take the runtimes in {self.config}.",
                    "restart the engine.",
                )
            time.sleep(0.1)


def forget_pid(path: Path, program: str) -> None:
    """Remove a pid file whose process is gone, or is another program by now."""
    try:
        pid = int(path.read_text())
    except FileNotFoundError:
        return
    except ValueError:
        pid = 0
    if started_at(pid) is None or program not in command_line(pid):
        say(f"Removing the stale {path}")
        path.unlink()


def forget_socket(path: Path) -> None:
    """Remove a socket at which nobody listens."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            say(f"Removing the stale {path}")
            path.unlink()


def last_line(path: Path) -> str:
    """The last line of a log, empty where there is none."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return lines[-1] if lines else ""
