"""Forked copies of the interpreter that the code left behind in its own frame."""

import contextlib
import os
import signal
import struct
import sys
import time

WORD = struct.Struct("=Bi")
"""One of the following, and a process id; short enough to be written whole or not at all."""
CONCEIVED, BORN, LAUNCHED, LEFT = range(4)
"""A fork begins; a copy runs; what was forked for a program or a worker runs; a copy leaves."""
LONGEST_WORDS = 65535
GRACE_SECONDS = 0.5
"""How long a copy may take to become another program, as what follows `pty.fork()` does."""
BIRTH_SECONDS = 10.0
"""How long a copy may take to run at all, on a machine that has much else to do."""
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
        """Forks of which nobody has come yet: failed, or not running yet."""
        self._launched: set[int] = set()
        self._relatives = {os.getpid(), os.getppid()}
        self._image = _image(os.getpid())
        os.register_at_fork(before=self._conceive, after_in_child=self._born)

    def _conceive(self) -> None:
        self._tell(CONCEIVED)

    def _born(self) -> None:
        caller = sys._getframe(1)  # noqa: SLF001 # whoever forked
        name = f"{caller.f_globals.get('__name__')}.{caller.f_code.co_qualname}"
        self._tell(LAUNCHED if name in LAUNCHERS else BORN)

    def leave(self) -> None:
        """Tell, from a copy that came out of the code's frame, that it ends now."""
        self._tell(LEFT)

    def _tell(self, what: int) -> None:
        with contextlib.suppress(OSError):
            os.write(self._teller, WORD.pack(what, os.getpid()))

    def end(self) -> None:
        """Kill the copies, those that they made meanwhile, and those that do not run yet.

        Whoever made one may have ended before it ran at all.
        """
        copies: set[int] = set()
        begun, rounds = time.monotonic(), 0
        while rounds < ROUNDS:
            copies = set(filter(self._is_copy, copies | self._births()))
            elapsed = time.monotonic() - begun
            if not copies and not self._awaits_any(elapsed):
                return
            if elapsed < GRACE_SECONDS or not copies:
                time.sleep(PAUSE_SECONDS)
                continue
            rounds += 1
            for pid in copies:
                _kill(pid)

    def _awaits_any(self, seconds: float) -> bool:
        """Whether a process may yet tell that it is a copy."""
        if self._unborn and (seconds > BIRTH_SECONDS or not self._unknown()):
            self._unborn = 0
        return self._unborn > 0

    def _unknown(self) -> set[int]:
        """Return the processes that are like this one and have not told what they are."""
        alike = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        alike = {pid for pid in alike - self._relatives if self._is_copy(pid)}
        self._launched &= alike
        return alike - self._launched

    def _is_copy(self, pid: int) -> bool:
        return bool(self._image) and _image(pid) == self._image

    def _births(self) -> set[int]:
        """Return who was born since this was last asked; those that left have no other owner."""
        try:
            told = os.read(self._told, LONGEST_WORDS)
        except OSError:
            return set()
        born: set[int] = set()
        for what, pid in WORD.iter_unpack(told[: len(told) // WORD.size * WORD.size]):
            if what == CONCEIVED:
                self._unborn += 1
            elif what == LEFT:
                _reap(pid)
            else:
                self._unborn -= 1
                (self._launched if what == LAUNCHED else born).add(pid)
        self._unborn = max(self._unborn, 0)
        return born


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
