"""The process on a node that is a sandbox under gVisor, found and ended without asking Docker.

A sandbox that hangs (stopped, or short of memory) answers no `docker kill`, which then waits
without end, and with it all that is asked of Docker about that container.
"""

import os
import signal
from pathlib import Path

SANDBOX_PROCESS = b"runsc-sandbox"


def command_line(pid: int) -> list[bytes]:
    """Return a process's words; none where it has gone, or is none of this machine's."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def is_sandbox(words: list[bytes]) -> bool:
    """Whether a command line is that of a sandbox of gVisor's."""
    return bool(words) and words[0].endswith(SANDBOX_PROCESS)


def end_sandbox(container_id: str, pid: int) -> bool:
    """End the sandbox of a container at once; False where `pid` is not it, or not ours to end."""
    try:
        process = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return False
    try:
        # Looked at after it is held: whatever has this number now keeps it.
        words = command_line(pid)
        if not is_sandbox(words) or container_id.encode() not in words:
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(process)
    return True
