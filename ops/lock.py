"""One at a time: set-ups of the same machine or repository wait for each other."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ops.layout import REPOSITORY
from ops.say import say

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY_LOCK = REPOSITORY / ".tools" / "lock"
MACHINE_LOCK = Path("/run/lock/sandbox-api.lock")


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock; says so where another holds it already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another set-up is at work ({path}); waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
