"""A program: runs one command as a user of its own, who sees only what is listed.

Run as root by path (`python -I jail.py '<Jail as JSON>'`), since threads can't be taken into
another root. The command gets a root folder, processes and mounts of its own: folders closed
to other users (`/root`) are no hindrance to what is listed, while secrets and other tenants'
folders are not there at all, and nothing that it starts outlives it. Nothing of the project
is imported.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 0x1, 0x2, 0x4
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Jail:
    """What to run, as whom, and what of the machine it sees."""

    command: Sequence[str]
    environment: Mapping[str, str]
    user: int
    """User and group id."""
    root: str
    """An empty folder to build the new root in."""
    readable: Mapping[str, str]
    """Paths of the machine, by their place inside; what isn't there is left out."""
    writable: Mapping[str, str]
    file_bytes: int
    """RLIMIT_FSIZE."""
    parent: int
    """The process that all of it dies with."""
    niceness: int = 10

    def to_json(self) -> str:
        """Write it as the argument of this program."""
        return json.dumps(asdict(self))


def run(jail: Jail) -> int:
    """Run the command in its jail and return its exit code, 128 and more for a signal.

    SIGTERM ends the command, and with it all that it started.
    """
    _die_with_parent()
    if os.getppid() != jail.parent:
        # It was gone before the kernel was told to watch it.
        return 1
    os.unshare(os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWIPC)
    _build_root(jail)
    # Held back until there is a child to pass it on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _become(jail)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _become(jail: Jail) -> NoReturn:
    """Turn this process, the first of its namespace, into the command."""
    os.chroot(jail.root)
    os.chdir("/")
    os.umask(0o022)
    os.nice(jail.niceness)
    resource.setrlimit(resource.RLIMIT_FSIZE, (jail.file_bytes, jail.file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setgroups([])
    os.setresgid(jail.user, jail.user, jail.user)
    os.setresuid(jail.user, jail.user, jail.user)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _die_with_parent()
    os.execve(jail.command[0], list(jail.command), dict(jail.environment))  # noqa: S606 -- no shell


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _build_root(jail: Jail) -> None:
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", jail.root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for inside, path in jail.readable.items():
        _show(Path(path), Path(jail.root + inside), _MS_RDONLY | _MS_NOSUID)
    for inside, path in jail.writable.items():
        _show(Path(path), Path(jail.root + inside), _MS_NOSUID | _MS_NODEV)
    _mount("none", jail.root, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def _show(source: Path, target: Path, flags: int) -> None:
    """Put a file, folder or link of the machine into the new root."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    if not source.exists():
        return
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _mount(str(source), str(target), None, _MS_BIND | _MS_REC)
    _mount("none", str(target), None, _MS_REMOUNT | _MS_BIND | flags)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    outcome = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )
    if outcome != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def main() -> None:
    """Run what the first argument tells of; its exit code becomes this program's."""
    try:
        sys.exit(run(Jail(**json.loads(sys.argv[1]))))
    except OSError as error:
        sys.exit(f"error: the node can't run this apart from itself: {error}")


if __name__ == "__main__":
    main()
