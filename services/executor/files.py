"""Files of a workspace, as the host reads and writes them.

All below the workspace belongs to untrusted code, which may change it at any moment: links,
fifos, folders swapped between two calls. Each path is therefore resolved by the kernel, from
the workspace's descriptor, in one step that follows no link; what was opened is looked at
before it is used. Blocking; safe to call from several threads.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from services.executor.beneath import conditions, open_beneath, opened_beneath
from services.executor.entries import describe, entries_of, version_of
from services.executor.errors import (
    FileMissingError,
    FileTooLargeError,
    InvalidPathError,
    SessionDeadError,
)
from services.executor.messages import FileInfo, FileRange
from services.executor.paths import SANDBOX_UID, WorkspacePath, normalise
from services.executor.removal import TreeBusyError, remove_tree
from services.executor.storage import SessionStorage

MAX_READ_BYTES = 4 * 1024 * 1024
_FILE_MODE = 0o644
_FOLDER_MODE = 0o755
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
# O_NONBLOCK: opening a fifo, or a file with a lease on it, never waits for anybody.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_STEADY_ATTEMPTS = 3


class WorkspaceFiles:
    """Reads and writes below `storage.workspace`, which must be prepared."""

    def __init__(self, storage: SessionStorage) -> None:
        """Serve the session's workspace; nothing is opened between calls."""
        self._storage = storage

    def list_files(self, path: str) -> Sequence[FileInfo]:
        """List a folder's entries by name; links are listed, not followed.

        Raises `InvalidPathError`, `FileMissingError`, and `FileTooLargeError` for a folder
        of more entries than are listed.
        """
        where = normalise(path)
        with self._at(where, _FOLDER) as folder:
            return entries_of(folder, where)

    def file_info(self, path: str) -> FileInfo | None:
        """Describe what is at the path, a link as itself; None where nothing is."""
        where = normalise(path)
        try:
            with self._at(where, os.O_PATH) as entry:
                return describe(where.name, where.text, os.fstat(entry))
        except FileMissingError:
            return None

    def read_file(self, path: str, offset: int, length: int) -> FileRange:
        """Read at most `length` bytes (and `MAX_READ_BYTES`) of a regular file.

        `info.version` is the same over several reads only while nobody began to write to
        the file. Raises `InvalidPathError`, `FileMissingError`.
        """
        where = normalise(path)
        if offset < 0 or length < 0:
            raise InvalidPathError("A range of a file can't begin or end before the file does.")
        with self._at(where, _FILE) as file:
            _require_regular(file, where)
            return _read_steadily(file, where, offset, min(length, MAX_READ_BYTES))

    def write_file(self, path: str, content: bytes) -> FileInfo:
        """Write one file atomically, making parent folders; its old content is replaced.

        Raises `InvalidPathError`, `DiskFullError`, `FileTooLargeError`.
        """
        where = writable(path)
        if len(content) > self._storage.limits.upload_bytes:
            raise too_large(self._storage.limits.upload_bytes)
        with self.staged() as (name, file):
            self.append(file, content)
            return self.put_in_place(name, file, where)

    def delete_file(self, path: str) -> None:
        """Remove a file, a link itself, or a folder with all below it.

        Raises `FileMissingError`, and `InvalidPathError` for the workspace itself.
        """
        where = normalise(path)
        if not where.parts:
            raise InvalidPathError("The workspace itself can't be deleted.")
        with self._at(where.parent, _FOLDER) as parent, conditions(where.text):
            name = where.name.encode()
            os.stat(name, dir_fd=parent, follow_symlinks=False)
            try:
                remove_tree(parent, name)
            except TreeBusyError as error:
                raise InvalidPathError(
                    f"{where.text!r} is still being written to: stop what writes there first."
                ) from error

    @contextmanager
    def staged(self) -> Iterator[tuple[str, int]]:
        """Hold a new file beside the workspace, on its disk; removed unless put in place."""
        name, file = self.stage()
        try:
            yield name, file
        finally:
            self.unstage(name, file)

    def stage(self) -> tuple[str, int]:
        """Make a file to be put in place later; return its name and descriptor."""
        name = secrets.token_hex(16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._staging() as staging, conditions(name):
            file = os.open(name, flags, 0o600, dir_fd=staging)
        return name, file

    def unstage(self, name: str, file: int) -> None:
        """Close a staged file, and remove it where it was not put in place."""
        os.close(file)
        with self._staging() as staging, suppress(FileNotFoundError):
            os.unlink(name, dir_fd=staging)

    def append(self, file: int, content: bytes) -> None:
        """Write all bytes at the end of a staged file. Raises `DiskFullError`."""
        self._storage.ensure_room(len(content))
        with conditions("the file"), memoryview(content) as rest:
            written = 0
            while written < len(rest):
                written += os.write(file, rest[written:])

    def put_in_place(self, name: str, file: int, where: WorkspacePath) -> FileInfo:
        """Give a staged file to the sandbox, under the path; atomic.

        Raises `InvalidPathError` where something else than a file is there.
        """
        os.fchown(file, SANDBOX_UID, SANDBOX_UID)
        os.fchmod(file, _FILE_MODE)
        with self._root() as root, conditions(where.text), self._staging() as staging:
            parent = _make_folders(root, where)
            try:
                _require_replaceable(parent, where)
                os.rename(name, where.name.encode(), src_dir_fd=staging, dst_dir_fd=parent)
            finally:
                os.close(parent)
        return describe(where.name, where.text, os.fstat(file))

    @contextmanager
    def _at(self, where: WorkspacePath, flags: int) -> Iterator[int]:
        with (
            self._root() as root,
            conditions(where.text),
            opened_beneath(root, where.raw, flags) as descriptor,
        ):
            yield descriptor

    @contextmanager
    def _root(self) -> Iterator[int]:
        """Open the workspace; its path down from the data folder is the host's own."""
        with _opened(self._storage.workspace.as_posix()) as root:
            yield root

    @contextmanager
    def _staging(self) -> Iterator[int]:
        with _opened(self._storage.staging.as_posix()) as staging:
            yield staging


def writable(path: str) -> WorkspacePath:
    """Read the path of a file to write. Raises `InvalidPathError`."""
    where = normalise(path)
    if not where.parts or path.endswith("/"):
        raise InvalidPathError(f"{path!r} names a folder, not a file.")
    return where


def too_large(limit: int) -> FileTooLargeError:
    """Make the error for bytes over a limit."""
    return FileTooLargeError(f"The file is over the limit of {limit} bytes.", limit=limit)


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SessionDeadError("The workspace is not mounted: start the sandbox again.") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _require_regular(file: int, where: WorkspacePath) -> None:
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise InvalidPathError(f"{where.text!r} is {what}.")


def _require_replaceable(parent: int, where: WorkspacePath) -> None:
    """Refuse to replace anything but a file; what comes there later is only renamed over."""
    try:
        mode = os.stat(where.name.encode(), dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise InvalidPathError(f"{where.text!r} is {what}: delete it first.")


def _read_steadily(file: int, where: WorkspacePath, offset: int, length: int) -> FileRange:
    """Read while nobody writes; if somebody always does, the version says so by `!`."""
    attempts = 0
    while True:
        before = os.fstat(file)
        data = _read(file, offset, length)
        info = describe(where.name, where.text, before)
        attempts += 1
        if version_of(os.fstat(file)) == info.version:
            return FileRange(info, data)
        if attempts == _STEADY_ATTEMPTS:
            return FileRange(replace(info, version=f"{info.version}!"), data)


def _read(file: int, offset: int, length: int) -> bytes:
    read = bytearray()
    while len(read) < length:
        piece = os.pread(file, length - len(read), offset + len(read))
        if not piece:
            break
        read += piece
    return bytes(read)


def _make_folders(root: int, where: WorkspacePath) -> int:
    """Open the parent folder, making what is missing, one level at a time."""
    folder = open_beneath(root, b".", _FOLDER)
    for part in where.parent.parts:
        try:
            below = _open_or_make(folder, part.encode())
        finally:
            os.close(folder)
        folder = below
    return folder


def _open_or_make(folder: int, name: bytes) -> int:
    try:
        return open_beneath(folder, name, _FOLDER)
    except FileNotFoundError:
        pass
    try:
        os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
    except FileExistsError:
        return open_beneath(folder, name, _FOLDER)
    made = open_beneath(folder, name, _FOLDER)
    # Code may have swapped it for another folder of its own, which is then merely its own.
    os.fchown(made, SANDBOX_UID, SANDBOX_UID)
    os.fchmod(made, _FOLDER_MODE)
    return made
