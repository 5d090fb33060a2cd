"""Forked copies of the interpreter that the code left behind in its own frame."""

import contextlib
import os
import signal
import struct
import sys
import time
from types import FrameType

NUMBER = struct.Struct("=i")
UNBORN = 0
"""What is told before a fork, whose copy tells its own number as soon as it runs."""
LONGEST_NUMBERS = 65536
GRACE_SECONDS = 0.5
"""How long a copy may take to become another program, as what follows `pty.fork()` does."""
BIRTH_SECONDS = 1.0
"""How long a copy may take to run at all: who has not come by then is of a fork that failed."""
PAUSE_SECONDS = 0.005
ROUNDS = 300
LAUNCHERS = frozenset(
    {
        "subprocess.Popen._execute_child",
        "os._spawnvef",
        "multiprocessing.popen_fork.Popen._launch",
        "socketserver.ForkingMixIn.process_request",
    }
)
"""Functions whose forks never return to the code that called them."""


class Clones:
    """Know the processes that Python code forked, so that a cell's stray copies end with it.

    Programs are none, however they were begun, and the workers of `multiprocessing` are left
    alone: both outlive their cell on purpose, and are waited for by whoever began them.
    """

    def __init__(self) -> None:
        """Begin to take note of forks."""
        self._told, self._teller = os.pipe()
        for descriptor in (self._told, self._teller):
            os.set_blocking(descriptor, False)
        self._unborn = 0
        self._image = _image(os.getpid())
        os.register_at_fork(before=self._conceived, after_in_child=self._born)

    def _conceived(self) -> None:
        if not _is_launcher(sys._getframe(1)):  # noqa: SLF001 # whoever forks
            self._tell(UNBORN)

    def _born(self) -> None:
        if not _is_launcher(sys._getframe(1)):  # noqa: SLF001 # whoever forked
            self._tell(os.getpid())

    def leave(self) -> None:
        """Tell, from a copy that came out of the code's frame, that it ends now."""
        self._tell(-os.getpid())

    def _tell(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.write(self._teller, NUMBER.pack(number))

    def end(self) -> None:
        """Kill the copies, those that they made meanwhile, and those that do not run yet.

        Whoever made one may have ended before it ran at all.
        """
        copies: set[int] = set()
        begun = time.monotonic()
        for _ in range(ROUNDS):
            copies = set(filter(self._is_copy, copies | self._births()))
            elapsed = time.monotonic() - begun
            if elapsed > BIRTH_SECONDS:
                self._unborn = 0
            if not copies and not self._unborn:
                return
            if elapsed < GRACE_SECONDS or not copies:
                time.sleep(PAUSE_SECONDS)
                continue
            for pid in copies:
                _kill(pid)

    def _is_copy(self, pid: int) -> bool:
        return bool(self._image) and _image(pid) == self._image

    def _births(self) -> set[int]:
        """Return who was born since this was last asked; those that left have no other owner."""
        try:
            told = os.read(self._told, LONGEST_NUMBERS)
        except OSError:
            return set()
        whole = told[: len(told) // NUMBER.size * NUMBER.size]
        numbers = [number for (number,) in NUMBER.iter_unpack(whole)]
        born = [number for number in numbers if number > 0]
        self._unborn = max(self._unborn + numbers.count(UNBORN) - len(born), 0)
        for number in numbers:
            if number < 0:
                _reap(-number)
        return set(born)


def _is_launcher(frame: FrameType) -> bool:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}" in LAUNCHERS


def _image(pid: int) -> bytes:
    """Return what a living process was started as, which is another thing after `exec`."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return line.read()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    _reap(pid)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
