"""How much a folder of untrusted content holds, measured without following anything."""

import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from services.executor.beneath import opened_beneath

_BLOCK_BYTES = 512
"""What `st_blocks` counts in, on Linux."""
_SECONDS = 5.0
_DEPTH = 200


class Usage(NamedTuple):
    """Bytes on disk and number of inodes."""

    bytes: int
    files: int


class _Measurement:
    """One walk; hard links count once, what is deeper than `_DEPTH` counts as unbounded."""

    def __init__(self, seconds: float) -> None:
        self.bytes = 0
        self.files = 0
        self._linked: set[int] = set()
        self._deadline = time.monotonic() + seconds

    def walk(self, folder: int, depth: int) -> None:
        if depth > _DEPTH:
            raise _UnboundedError
        with os.scandir(folder) as entries:
            for entry in entries:
                if time.monotonic() > self._deadline:
                    raise _UnboundedError
                try:
                    self._count(folder, entry, depth)
                except OSError:
                    # Gone or swapped since it was listed: the next measurement sees it.
                    continue

    def _count(self, folder: int, entry: "os.DirEntry[str]", depth: int) -> None:
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            with opened_beneath(
                folder, os.fsencode(entry.name), os.O_RDONLY | os.O_DIRECTORY
            ) as below:
                self.walk(below, depth + 1)
        elif found.st_nlink > 1:
            if found.st_ino in self._linked:
                return
            self._linked.add(found.st_ino)
        self.bytes += found.st_blocks * _BLOCK_BYTES
        self.files += 1


class _UnboundedError(Exception):
    """The walk would take too long or too many descriptors."""


_UNBOUNDED = Usage(2**63 - 1, 2**63 - 1)


def measure(folder: Path, *, seconds: float = _SECONDS) -> Usage:
    """Add up the folder's tree within `seconds`.

    A tree that is too large or too deep for that counts as over every limit.
    """
    measurement = _Measurement(seconds)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        measurement.walk(descriptor, 0)
    except _UnboundedError:
        return _UNBOUNDED
    finally:
        os.close(descriptor)
    return Usage(measurement.bytes, measurement.files)
