"""What a workspace's files look like from outside: kinds, sizes, times, versions."""

import itertools
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from services.executor.errors import FileTooLargeError
from services.executor.messages import FileInfo, FileKind
from services.executor.paths import WorkspacePath, shown_name

MAX_ENTRIES = 20_000
"""Entries of one folder that are listed; hard links make more than the inode limit possible."""
_LATEST = 253_402_300_799.0
"""The last second of the year 9999: a file's time is whatever its owner set."""


def describe(name: str, path: str, status: os.stat_result) -> FileInfo:
    """Describe one entry from its status, a link as itself."""
    return FileInfo(
        name=name,
        path=path,
        kind=_kind(status.st_mode),
        size_bytes=status.st_size,
        modified_at=min(max(status.st_mtime, 0.0), _LATEST),
        version=version_of(status),
    )


def version_of(status: os.stat_result) -> str:
    """Return a text that changes when the file's bytes may have: nobody can set a ctime."""
    times = f"{status.st_mtime_ns}-{status.st_ctime_ns}"
    return f"{status.st_ino}-{status.st_size}-{times}"


def entries_of(folder: int, where: WorkspacePath) -> Sequence[FileInfo]:
    """List an open folder by name. Raises `FileTooLargeError` over `MAX_ENTRIES`."""
    found = []
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, MAX_ENTRIES + 1):
            # An entry that is gone since it was listed is not listed.
            with suppress(FileNotFoundError):
                name = shown_name(os.fsencode(entry.name))
                status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                found.append(describe(name, where.child(name), status))
    if len(found) > MAX_ENTRIES:
        raise FileTooLargeError(
            f"{where.text!r} has over {MAX_ENTRIES} entries, which is too many to list.",
            limit=MAX_ENTRIES,
        )
    return sorted(found, key=lambda info: info.name)


def _kind(mode: int) -> FileKind:
    if stat.S_ISREG(mode):
        return FileKind.FILE
    if stat.S_ISDIR(mode):
        return FileKind.DIRECTORY
    return FileKind.SYMLINK if stat.S_ISLNK(mode) else FileKind.OTHER
