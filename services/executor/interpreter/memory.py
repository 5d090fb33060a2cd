"""Keeps the code's own memory below the sandbox's, so that it meets a MemoryError, not its end.

Only RLIMIT_AS is enforced under gVisor, and it counts addresses, those of mapped libraries
included: a fixed limit is either too low for large libraries or too high for data. This one
follows what is mapped beside data, as `/proc/<pid>/status` tells it.
"""

import contextlib
import resource
import time

MEMORY_SECONDS = 0.05
QUICK_SECONDS = 0.01
"""In so short a time code seldom maps more than there is slack for."""
RESERVED_BYTES = 104 * 1024 * 1024
"""Of the sandbox's memory, what gVisor, this supervisor and cached files take."""
SLACK_BYTES = 24 * 1024 * 1024
"""Room for libraries to be mapped between two looks."""
LEAST_BYTES = 64 * 1024 * 1024
UNIT = 1024


class MemoryLimit:
    """The soft RLIMIT_AS of one interpreter."""

    def __init__(self, memory_bytes: int = 0) -> None:
        """Hold data below `memory_bytes` less what is reserved; zero holds nothing."""
        self._data_bytes = max(memory_bytes - RESERVED_BYTES, LEAST_BYTES) if memory_bytes else 0
        self._looked = self._begun = 0.0
        self.due = False
        """Whether a look was put off."""

    def begin(self) -> None:
        """Let the code begin undisturbed: the last look still holds."""
        self._begun = time.monotonic()

    def follow(self, pid: int) -> None:
        """Look again, unless that was just done."""
        if time.monotonic() - max(self._looked, self._begun) >= MEMORY_SECONDS:
            self.look(pid)

    def end(self, pid: int) -> None:
        """Look again now that the code has ended; after quick code a while later will do."""
        now = time.monotonic()
        self.due = now - self._begun < QUICK_SECONDS and now - self._looked < MEMORY_SECONDS
        if not self.due:
            self.look(pid)

    def look(self, pid: int) -> None:
        """Set the limit by what is mapped now."""
        self._looked, self.due = time.monotonic(), False
        if not self._data_bytes:
            return
        # The process may be gone, or the code may have changed its limits: its own affair.
        with contextlib.suppress(OSError, ValueError):
            size, data = _mapped(pid)
            _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
            soft = size - data + self._data_bytes + SLACK_BYTES
            resource.prlimit(pid, resource.RLIMIT_AS, (min(soft, hard), hard))


def _mapped(pid: int) -> tuple[int, int]:
    """Return the bytes of all addresses in use, and of those for data."""
    size = data = 0
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmSize:"):
                size = int(line.split()[1]) * UNIT
            elif line.startswith("VmData:"):
                data = int(line.split()[1]) * UNIT
    return size, data
