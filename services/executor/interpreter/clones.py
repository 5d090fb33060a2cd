"""Forked copies of the interpreter that the code left behind in its own frame."""

import contextlib
import os
import signal
import struct
import sys

PID = struct.Struct("=i")
ROUNDS = 100


class Clones:
    """Know every process forked by Python code, so that a cell's stray copies end with it.

    Programs started by `subprocess` are none (they fork in C), and the workers of
    `multiprocessing` are left alone: both outlive their cell on purpose.
    """

    def __init__(self) -> None:
        """Begin to count forks."""
        self._births, self._announce = os.pipe()
        for descriptor in (self._births, self._announce):
            os.set_blocking(descriptor, False)
        os.register_at_fork(after_in_child=self._born)

    def _born(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._announce, PID.pack(os.getpid()))

    def end(self) -> None:
        """Kill the copies, and those that they made meanwhile."""
        for _ in range(ROUNDS):
            try:
                born = os.read(self._births, 65536)
            except OSError:
                return
            kept = _workers()
            for (pid,) in PID.iter_unpack(born[: len(born) // PID.size * PID.size]):
                if pid not in kept:
                    _kill(pid)


def _workers() -> set[int]:
    process = sys.modules.get("multiprocessing.process")
    children = getattr(process, "_children", ())
    return {child.pid for child in list(children) if child.pid}


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
