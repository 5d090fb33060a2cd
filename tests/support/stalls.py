"""Virtual CPUs that take no interrupts for a while, as on some nested virtual machines.

One was seen to run a sandbox's code for 59 s, while whatever else waited for it stood still.
It went on in the second in which the kernel's watch for stalls (of RCU) sent it an interrupt that
can't be masked, for which that watch waits 21 or 60 s as it comes. Why it stood is not known, so
what the kernel tells of such stalls is said at the end of the tests, not passed over.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WATCH = Path("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout")
LEAST_SECONDS = 3
"""The kernel takes nothing less."""
_STALL = re.compile(
    r"^\[ *(\d+)\.\d+\].*rcu.*(?:detected|self-detected) (?:expedited )?stall", re.MULTILINE
)


@contextmanager
def cut_short(watch: Path = WATCH) -> Iterator[None]:
    """Have the kernel look soon, where that may be set; put back what was.

    Where it looks so soon already, it goes on doing so: others may run tests at the same time.
    """
    before = _soon(watch)
    try:
        yield
    finally:
        if before is not None:
            watch.write_text(before)


def _soon(watch: Path) -> str | None:
    """Have the kernel look soon; return what is to be put back, None where nothing was changed."""
    try:
        before = watch.read_text()
        if int(before) <= LEAST_SECONDS:
            return None
        watch.write_text(f"{LEAST_SECONDS}\n")
    except OSError:
        # Not root, or another kernel: stalls take as long as they take.
        return None
    return before


def seen_since(uptime: float) -> int:
    """Count how often the kernel's log, as far as it is kept, tells of one since this second."""
    try:
        log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return count(log, uptime)


def count(log: str, uptime: float) -> int:
    """Count those in a text of the kernel's log."""
    return sum(int(found[1]) >= int(uptime) for found in _STALL.finditer(log))


def uptime() -> float:
    """Return the seconds since the kernel's start, by its log's clock."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
