"""Opening below a folder that untrusted code owns, by openat2(2).

The kernel resolves the path and refuses, whatever is swapped meanwhile, to leave the folder,
to follow a symlink, or to cross into another mount.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from services.executor.errors import (
    DiskFullError,
    ExecutorError,
    FileMissingError,
    InvalidPathError,
    SandboxStartError,
)

SYS_OPENAT2 = 437
"""The same number on every architecture: include/uapi/asm-generic/unistd.h."""
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE = _RESOLVE_NO_XDEV | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
_ATTEMPTS = 16

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """`struct open_how` of include/uapi/linux/openat2.h."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_beneath(folder: int, path: bytes, flags: int) -> int:
    """Open `path` below the folder's descriptor; O_CLOEXEC and O_NOFOLLOW are always set.

    Raises `OSError`: ELOOP for a symlink on the way, EXDEV for a way out.
    """
    how = _OpenHow(flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0, _RESOLVE)
    for _ in range(_ATTEMPTS):
        descriptor: int = _libc.syscall(
            ctypes.c_long(SYS_OPENAT2),
            ctypes.c_int(folder),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor >= 0:
            return descriptor
        # EAGAIN: a rename elsewhere raced the walk; the kernel asks to try again.
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), os.fsdecode(path))


@contextmanager
def opened_beneath(folder: int, path: bytes, flags: int) -> Iterator[int]:
    """Hold what `open_beneath` opens."""
    descriptor = open_beneath(folder, path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def require_openat2() -> None:
    """Raise `SandboxStartError` where this kernel can't open files safely."""
    folder = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_beneath(folder, b".", os.O_PATH))
    except OSError as error:
        raise SandboxStartError(
            f"This node can't open files of a sandbox safely (openat2: {error.strerror}): "
            "Linux 5.6 or newer is needed, and no seccomp filter that forbids it."
        ) from error
    finally:
        os.close(folder)


_FULL = DiskFullError, "The workspace's disk limit is reached: delete files, then try again."
_MISSING = FileMissingError, "There is nothing at {path} in the workspace."
_LINK = InvalidPathError, "{path} passes a symbolic link, which is not followed."
_NOT_A_FOLDER = InvalidPathError, "A part of {path} is not a folder."
_A_FOLDER = InvalidPathError, "{path} is a folder."
_TOO_LONG = InvalidPathError, "{path} is too long."
_SPECIAL = InvalidPathError, "{path} is not a regular file."
_KINDS: dict[int, tuple[type[ExecutorError], str]] = {
    errno.ENOENT: _MISSING,
    errno.ELOOP: _LINK,
    errno.EXDEV: _LINK,
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EISDIR: _A_FOLDER,
    errno.ENOTEMPTY: _A_FOLDER,
    errno.EEXIST: _A_FOLDER,
    errno.ENAMETOOLONG: _TOO_LONG,
    errno.ENXIO: _SPECIAL,
    errno.ENODEV: _SPECIAL,
    errno.EACCES: _SPECIAL,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EMLINK: _FULL,
}


@contextmanager
def conditions(path: str) -> Iterator[None]:
    """Turn the `OSError`s that untrusted content can cause into the executor's conditions."""
    try:
        yield
    except OSError as error:
        condition = _condition(error, path)
        if condition is None:
            raise
        raise condition from error


def _condition(error: OSError, path: str) -> ExecutorError | None:
    kind = _KINDS.get(error.errno or 0)
    return None if kind is None else kind[0](kind[1].replace("{path}", repr(path)))
