"""Running the machine's tools, and looking at processes through /proc."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.say import CannotError

TAIL_LINES = 12
# Last lines that say nothing about the fault.
HINTS = ("Run 'docker run --help' for more information", "See 'docker run --help'.")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandError(Exception):
    """A command that ended badly, with the last lines that it printed."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        lines = [line for line in output.splitlines() if line.strip() and line not in HINTS]
        tail = "\n".join(lines[-TAIL_LINES:])
        super().__init__(f"`{' '.join(argv)}` ended with {code}:\n{tail}")
        self.output = output
        self.reason = f"`{argv[0]}`: {lines[-1].strip() if lines else f'ended with {code}'}"
        self.code = code


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run to the end and return standard output; raises `CommandError` with both streams."""
    try:
        done = subprocess.run(
            argv,
            env=None if env is None else dict(env),
            cwd=cwd,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(argv, 127, str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(argv, 124, f"no end after {timeout} s") from error
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, f"{done.stdout}\n{done.stderr}")
    return done.stdout


def works(argv: Sequence[str], *, timeout: float | None = 60.0) -> bool:
    """Whether the command is there and ends with 0."""
    try:
        run(argv, timeout=timeout)
    except CommandError:
        return False
    return True


def tool(name: str) -> str | None:
    """Path of a program; the system's folders count even where PATH leaves them out."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)


def require_tool(name: str, remedy: str) -> str:
    """Path of a program, or `CannotError` with the command that installs it."""
    found = tool(name)
    if found is None:
        raise CannotError(f"`{name}` is not installed.", remedy)
    return found


def started_at(pid: int) -> int | None:
    """Start of a living process in clock ticks since boot, None where there is none.

    With the id it names a process for good: ids are used again, the pair is not.
    """
    fields = _stat(pid)
    return None if not fields or fields[0] in ("Z", "X") else int(fields[19])


def parent(pid: int) -> int | None:
    """Id of the process that began this one, or that took it over; None where it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str]:
    """Fields of `/proc/PID/stat` from the state on; none where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def command_line(pid: int) -> str:
    """Arguments of a process, blanks between; empty where it is gone."""
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


def all_processes() -> list[int]:
    """Ids of all processes just now."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def end(pids: Sequence[int], *, grace_seconds: float = 10.0, first: int = signal.SIGTERM) -> None:
    """Send `first`, and SIGKILL to what is still there after `grace_seconds`."""
    known = {pid: started_at(pid) for pid in pids}
    for number, wait in ((first, grace_seconds), (signal.SIGKILL, 5.0)):
        alive = [pid for pid, start in known.items() if start and started_at(pid) == start]
        for pid in alive:
            send(pid, number)
        deadline = time.monotonic() + wait
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = [pid for pid in alive if started_at(pid) == known[pid]]
        if not alive:
            return


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
