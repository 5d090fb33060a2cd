"""Removing trees that untrusted code made, and may still be changing."""

import errno
import os
import secrets
import time

from services.executor.beneath import opened_beneath

_DEPTH = 32
"""Folders held open at once; deeper ones are moved up to the top first."""
_SECONDS = 120.0
SWAPPED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV}
"""What opening a folder says that is one no more; the last where the kernel saw it move."""


class TreeBusyError(OSError):
    """The tree was still being filled when the time for removing it ran out."""


class TreeRemoval:
    """One removal below a folder's descriptor: no symlink followed, no mount crossed.

    Depth costs neither stack nor descriptors: a folder below `_DEPTH` levels is renamed
    into the top of the tree and removed from there.
    """

    def __init__(self, parent: int, *, seconds: float = _SECONDS) -> None:
        """Remove entries of `parent`, for at most `seconds` of monotonic time."""
        self._parent = parent
        self._deadline = time.monotonic() + seconds

    def remove(self, name: bytes) -> None:
        """Remove the entry, whatever it is; one that is gone is no error.

        Raises `TreeBusyError`, and `OSError` for what the filesystem refuses.
        """
        while True:
            self._check_time()
            try:
                os.unlink(name, dir_fd=self._parent)
            except FileNotFoundError:
                return
            except IsADirectoryError:
                if self._remove_folder(name):
                    return
            else:
                return

    def _remove_folder(self, name: bytes) -> bool:
        try:
            with opened_beneath(self._parent, name, os.O_RDONLY | os.O_DIRECTORY) as top:
                self._empty(top, top, 1)
        except OSError as error:
            # Swapped for something else since: the caller looks again.
            if error.errno in SWAPPED:
                return False
            raise
        return _rmdir(self._parent, name)

    def _empty(self, folder: int, top: int, depth: int) -> None:
        found = True
        while found:
            found = False
            with os.scandir(folder) as entries:
                for entry in entries:
                    found = True
                    self._check_time()
                    self._remove_entry(folder, os.fsencode(entry.name), top, depth)

    def _remove_entry(self, folder: int, name: bytes, top: int, depth: int) -> None:
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            if _rmdir(folder, name):
                return
        else:
            return
        try:
            if depth < _DEPTH:
                with opened_beneath(folder, name, os.O_RDONLY | os.O_DIRECTORY) as below:
                    self._empty(below, top, depth + 1)
                _rmdir(folder, name)
            else:
                moved = f".removed-{secrets.token_hex(8)}".encode()
                os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
        except OSError as error:
            # Moved or swapped meanwhile: the next pass over the folder sees what is there.
            if error.errno not in SWAPPED:
                raise

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise TreeBusyError(errno.EBUSY, "still being filled while it was removed")


def remove_tree(parent: int, name: bytes) -> None:
    """Remove one entry of the folder `parent` with all below it. Raises `OSError`."""
    TreeRemoval(parent).remove(name)


def _rmdir(folder: int, name: bytes) -> bool:
    """Remove an empty folder; False where it isn't one (any more)."""
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True
