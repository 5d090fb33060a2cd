"""The process on a node that is a sandbox under gVisor, found and ended without asking Docker.

A sandbox that hangs (stopped, or short of memory) answers no `docker kill`, which then waits
without end, and with it all that is asked of Docker about that container.
"""

import os
import select
import signal
import threading
from pathlib import Path
from typing import Self

SANDBOX_PROCESS = b"runsc-sandbox"
END_SECONDS = 2.0


def command_line(pid: int) -> list[bytes]:
    """Return a process's words; none where it has gone, or is none of this machine's."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def is_sandbox(words: list[bytes]) -> bool:
    """Whether a command line is that of a sandbox of gVisor's."""
    return bool(words) and words[0].endswith(SANDBOX_PROCESS)


class SandboxProcess:
    """The sandbox of one container, held so that no other process is ever taken for it."""

    def __init__(self, descriptor: int) -> None:
        """Own a process's descriptor; `find` makes one."""
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()

    @classmethod
    def find(cls, container_id: str, pid: int) -> Self | None:
        """Find the sandbox of a container; None where `pid` is not it on this machine."""
        try:
            descriptor = os.pidfd_open(pid)
        except (OSError, OverflowError):
            return None
        # Looked at after it is held: whatever has this number now keeps it.
        words = command_line(pid)
        if is_sandbox(words) and container_id.encode() in words:
            return cls(descriptor)
        os.close(descriptor)
        return None

    def end(self) -> bool:
        """End it at once, and say whether nothing of it runs any more."""
        with self._lock:
            if self._descriptor is None:
                return False
            try:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            except ProcessLookupError:
                return True
            except OSError:
                return False
        return self.ended(END_SECONDS)

    def ended(self, seconds: float = 0.0) -> bool:
        """Wait until it runs no more, at most so long, and say whether that is so."""
        with self._lock:
            if self._descriptor is None:
                return False
            ending = select.poll()
            ending.register(self._descriptor, select.POLLIN)
            return bool(ending.poll(seconds * 1000))

    def close(self) -> None:
        """Let go of it; idempotent."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None
