"""A node's cache of wheels, shared by its sessions, and the places for installations in it."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from services.executor.removal import remove_tree
from services.executor.usage import Usage, measure

INSTALLER_UID = 61018
"""User and group that owns the cache and that uv runs as; no account of the host has it."""
AT_ONCE = 2
"""Installations that one node runs at once, whatever session they are for."""
_MAX_BYTES = 10 * 1024 * 1024 * 1024
_MAX_FILES = 1_000_000
_MEASURE_SECONDS = 60.0
_TIDY_SECONDS = 3600.0
_POLL_SECONDS = 0.2
_BUCKET = "archive-v0"
"""Where uv unpacks wheels, one folder each."""


class WheelCache:
    """The folders `uv-cache` and `uv-slots` of a node's data folder."""

    def __init__(
        self, node_data_dir: Path, *, max_bytes: int = _MAX_BYTES, max_files: int = _MAX_FILES
    ) -> None:
        """Name the folders; over the limits the cache is emptied when nobody installs."""
        self.folder = node_data_dir / "uv-cache"
        self._slots = node_data_dir / "uv-slots"
        self._max_bytes = max_bytes
        self._max_files = max_files

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for one of the node's places for installations, and hold it."""
        self._slots.mkdir(mode=0o700, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.folder, INSTALLER_UID, INSTALLER_UID)
        # The places are file locks, which processes share and nothing can be awaited on.
        while (slot := self._take()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            os.close(slot)

    def tidy(self) -> None:
        """Empty a cache that outgrew its limits, unless somebody installs. Blocking.

        Looks at most once an hour, since looking takes seconds where much is cached.
        """
        taken: list[int] = []
        try:
            for _ in range(AT_ONCE):
                slot = self._take()
                if slot is None:
                    return
                taken.append(slot)
            if not self._due():
                return
            used = measure(self.folder, seconds=_MEASURE_SECONDS)
            if used.bytes > self._max_bytes or used.files > self._max_files:
                self._empty()
        finally:
            for slot in taken:
                os.close(slot)

    def contents(self) -> frozenset[str]:
        """Name the wheels that are unpacked in the cache."""
        bucket = self.folder / _BUCKET
        if not bucket.is_dir():
            return frozenset()
        return frozenset(entry.name for entry in bucket.iterdir())

    def growth(self, before: frozenset[str]) -> Usage:
        """Measure what was unpacked since `before`, by anybody. Blocking."""
        total = Usage(0, 0)
        for name in self.contents() - before:
            # Moved to its place meanwhile: it is seen there by the next look.
            with suppress(OSError):
                added = measure(self.folder / _BUCKET / name, seconds=_MEASURE_SECONDS)
                total = Usage(total.bytes + added.bytes, total.files + added.files)
        return total

    def _take(self) -> int | None:
        for number in range(AT_ONCE):
            slot = os.open(self._slots / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(slot)
            else:
                return slot
        return None

    def _due(self) -> bool:
        """Whether the last look is long ago; notes this one."""
        mark = self._slots / "looked"
        due = not mark.exists() or time.time() - mark.stat().st_mtime > _TIDY_SECONDS
        if due:
            mark.touch()
        return due

    def _empty(self) -> None:
        cache = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for entry in self.folder.iterdir():
                remove_tree(cache, os.fsencode(entry.name))
        finally:
            os.close(cache)
