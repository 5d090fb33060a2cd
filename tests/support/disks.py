"""Disks of sessions, really mounted, for tests of the files on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.executor.messages import SessionLimits
from services.executor.storage import SessionStorage

LIMITS = SessionLimits(disk_bytes=64 * 1024 * 1024, disk_files=20_000, upload_bytes=8 * 1024 * 1024)


@contextmanager
def mounted(folder: Path) -> Iterator[SessionStorage]:
    """Prepare a session below a folder, and destroy it afterwards."""
    storage = SessionStorage(folder, "0123abcd-files", LIMITS)
    storage.prepare()
    try:
        yield storage
    finally:
        storage.destroy()
