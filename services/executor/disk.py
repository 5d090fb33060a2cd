"""A session's disk: a sparse ext4 image, loop-mounted so that its size is the limit.

Every function may be called again after a crash at any point of an earlier call.
"""

import logging
import os
import shutil
import subprocess
import time
from pathlib import Path

from services.executor.errors import SandboxStartError

_TOOL_SECONDS = 60.0
_UNMOUNT_ATTEMPTS = 10
_UNMOUNT_PAUSE_SECONDS = 0.1
_FSCK_FAILED = 4
"""From this bit on e2fsck left errors behind: e2fsck(8)."""
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""The tools are the system's own, wherever `PATH` points, and root's `PATH` may lack sbin."""
_MKFS_OPTIONS = ("-q", "-F", "-m", "0", "-O", "^has_journal")
_MOUNT_OPTIONS = "loop,rw,nosuid,nodev,noatime"

logger = logging.getLogger(__name__)


class DiskUnavailableError(Exception):
    """This node can't loop-mount: no loop devices, no permission, or no tools."""


def create_image(image: Path, size_bytes: int, files: int) -> None:
    """Make the image file with an empty filesystem, unless it is there already.

    Raises `DiskUnavailableError` without mkfs.ext4, `SandboxStartError` where it fails.
    """
    if image.exists():
        return
    unfinished = image.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with unfinished.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(size_bytes)
    extended = "lazy_itable_init=1,nodiscard,root_owner=0:0"
    outcome = _run("mkfs.ext4", *_MKFS_OPTIONS, "-N", str(files), "-E", extended, str(unfinished))
    if outcome.returncode != 0:
        unfinished.unlink()
        raise SandboxStartError(f"The session's disk could not be made: {_words(outcome)}")
    unfinished.rename(image)


def mount_image(image: Path, target: Path) -> None:
    """Mount the image at the folder; one that is mounted there already stays.

    Raises `DiskUnavailableError` where the node can't mount, `SandboxStartError` where the
    filesystem is beyond repair.
    """
    if mounted_image(target) == image:
        return
    if is_mounted(target):
        unmount(target)
    if not _attached(image):
        _check(image)
    outcome = _run("mount", "-t", "ext4", "-o", _MOUNT_OPTIONS, "--", str(image), str(target))
    if outcome.returncode != 0:
        raise DiskUnavailableError(_words(outcome))


def unmount(target: Path) -> None:
    """Unmount whatever is mounted at the folder, at last lazily; idempotent.

    A lazy unmount lets those who still hold files finish, while the path is free at once.
    """
    attempts = 0
    while is_mounted(target):
        lazy = attempts >= _UNMOUNT_ATTEMPTS
        outcome = _run("umount", *(("--lazy",) if lazy else ()), "--", str(target))
        attempts += 1
        if outcome.returncode == 0 or not is_mounted(target):
            continue
        if lazy:
            raise OSError(f"{target} could not be unmounted: {_words(outcome)}")
        time.sleep(_UNMOUNT_PAUSE_SECONDS)


def is_mounted(target: Path) -> bool:
    """Whether the folder is a mount point in this process's namespace."""
    return target in mounts_below(target)


def mounts_below(folder: Path) -> list[Path]:
    """List the mount points at the folder and below it, deepest and newest first."""
    found = [
        point
        for point in map(_mount_point, Path("/proc/self/mountinfo").read_bytes().splitlines())
        if point == folder or folder in point.parents
    ]
    return found[::-1]


def mounted_image(target: Path) -> Path | None:
    """Return the file behind the loop device mounted at the folder, if that is what is there."""
    if not is_mounted(target):
        return None
    device = target.stat().st_dev
    backing = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/loop/backing_file")
    try:
        return Path(os.fsdecode(backing.read_bytes().removesuffix(b"\n")))
    except FileNotFoundError:
        return None


def _mount_point(line: bytes) -> Path:
    """Read the fifth field of a mountinfo line, its octal escapes undone: proc(5)."""
    escaped = line.split(b" ")[4]
    return Path(os.fsdecode(escaped.decode("unicode_escape").encode("latin-1")))


def _attached(image: Path) -> bool:
    """Whether some loop device still uses the image: a mount lives on, in some namespace."""
    outcome = _run("losetup", "--noheadings", "--output", "NAME", "--associated", str(image))
    return outcome.returncode == 0 and bool(outcome.stdout.strip())


def _check(image: Path) -> None:
    """Repair a filesystem that was not cleanly unmounted; a clean one is only looked at."""
    outcome = _run("e2fsck", "-p", str(image))
    if outcome.returncode >= _FSCK_FAILED:
        logger.warning("session disk %s needs repair: %s", image, _words(outcome))
        outcome = _run("e2fsck", "-f", "-y", str(image))
    if outcome.returncode >= _FSCK_FAILED:
        raise SandboxStartError(f"The session's disk can't be repaired: {_words(outcome)}")


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(tool, path=_SYSTEM_PATH)
    if program is None:
        raise DiskUnavailableError(f"{tool} is not installed")
    try:
        return subprocess.run(  # noqa: S603 -- a system tool, with paths that the host made
            [program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOOL_SECONDS,
            env={"PATH": _SYSTEM_PATH, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{tool} did not end within {_TOOL_SECONDS:.0f} s") from error


def _words(outcome: subprocess.CompletedProcess[str]) -> str:
    said = " ".join((outcome.stderr or outcome.stdout).split())
    return said or f"exit code {outcome.returncode}"
