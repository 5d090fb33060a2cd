"""The folders of one session on its node: disk, packages, and the state of installations."""

import fcntl
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.executor import disk
from services.executor.beneath import require_openat2
from services.executor.disk import DiskUnavailableError
from services.executor.errors import DiskFullError, SandboxStartError
from services.executor.messages import SessionLimits
from services.executor.paths import SANDBOX_UID
from services.executor.removal import remove_tree
from services.executor.usage import Usage, measure

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_PLAIN_MARK = "plain"
_MEASURED_FOR_SECONDS = 2.0
_PRIVATE = 0o700
_SHARED = 0o755

logger = logging.getLogger(__name__)


class SessionStorage:
    """What a session keeps on its node, in `<root>/sandboxes/<session_id>/`.

    Blocking, and safe to call from several threads and processes: each change holds a lock
    on the session's folder.
    """

    def __init__(self, root: Path, session_id: str, limits: SessionLimits) -> None:
        """Name the folders below the node's data folder; nothing is touched yet."""
        # As the kernel will name it, so that mounts are recognised.
        self.root = root.resolve()
        self.session_id = session_id
        self.limits = limits
        self.folder = session_folder(self.root, session_id)
        self.image = self.folder / "disk.img"
        self.disk = self.folder / "disk"
        self.workspace = self.disk / "workspace"
        """Bind-mounted at /workspace; all below it is untrusted code's."""
        self.staging = self.disk / "staging"
        """On the same filesystem, for the host alone: what is written here counts too."""
        self.packages = self.folder / "packages"
        """Bind-mounted read-only at /packages."""
        self.install = self.folder / "install"
        """What is installed and why; for the host alone."""
        self._measured: tuple[float, Usage] | None = None

    @property
    def limited(self) -> bool:
        """Whether the filesystem itself holds the disk limit; else a watcher must."""
        return disk.mounted_image(self.disk) == self.image

    def prepare(self) -> None:
        """Make and mount whatever is not there yet; leftovers of unfinished writes go.

        Raises `SandboxStartError` where the node can't.
        """
        require_openat2()
        try:
            self._prepare()
        except OSError as error:
            raise SandboxStartError(
                f"The session's folders could not be made on this node: {error}"
            ) from error

    def _prepare(self) -> None:
        for folder in (self.root, sandboxes_folder(self.root)):
            folder.mkdir(exist_ok=True, parents=True)
        sandboxes_folder(self.root).chmod(_PRIVATE)
        _make_folder(self.folder, _PRIVATE)
        with self._locked():
            _make_folder(self.packages, _SHARED)
            _make_folder(self.install, _PRIVATE)
            _make_folder(self.disk, _PRIVATE)
            self._mount()
            _make_folder(self.workspace, _SHARED, owner=SANDBOX_UID)
            _make_folder(self.staging, _PRIVATE)
            self._clear_staging()

    def unmount(self) -> None:
        """Take the disk out of the host's tree; files stay in its image. Idempotent."""
        if self.folder.exists():
            with self._locked():
                disk.unmount(self.disk)

    def destroy(self) -> None:
        """Remove all there is of the session, even half-made. Idempotent.

        Raises `OSError` where something could not be removed; calling again goes on.
        """
        if not self.folder.exists():
            return
        with self._locked():
            for point in disk.mounts_below(self.folder):
                disk.unmount(point)
            self.image.unlink(missing_ok=True)
            parent = os.open(self.folder.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                remove_tree(parent, os.fsencode(self.folder.name))
            finally:
                os.close(parent)

    def usage(self) -> Usage:
        """Return bytes and inodes that the session's disk holds.

        Exact for a mounted image; a walk of bounded time for a plain folder.
        """
        if self.limited:
            found = os.statvfs(self.disk)
            return Usage(
                (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree
            )
        return measure(self.disk)

    def ensure_room(self, extra_bytes: int) -> None:
        """Raise `DiskFullError` where a plain folder has no room for so many bytes more.

        A mounted image needs no such check: its filesystem refuses by itself.
        """
        if self.limited:
            return
        now = time.monotonic()
        if self._measured is None or now - self._measured[0] > _MEASURED_FOR_SECONDS:
            self._measured = (now, self.usage())
        since, used = self._measured
        used = Usage(used.bytes + extra_bytes, used.files + 1)
        if used.bytes > self.limits.disk_bytes or used.files > self.limits.disk_files:
            raise DiskFullError(
                "The workspace's disk limit is reached: delete files, then try again."
            )
        self._measured = (since, used)

    def _mount(self) -> None:
        """Mount the image, or mark the session's disk as a plain folder for good."""
        mark = self.folder / _PLAIN_MARK
        if mark.exists():
            return
        fresh = not self.image.exists()
        try:
            disk.create_image(self.image, self.limits.disk_bytes, self.limits.disk_files)
            disk.mount_image(self.image, self.disk)
        except DiskUnavailableError as error:
            if not fresh:
                # An empty folder in place of the user's files would look like their loss.
                raise SandboxStartError(
                    f"The session's disk could not be mounted on this node: {error}"
                ) from error
            logger.warning(
                "no loop mounts on this node (%s): the disk limit of session %s is watched, "
                "not enforced by its filesystem",
                error,
                self.session_id,
            )
            self.image.unlink(missing_ok=True)
            mark.touch(mode=0o600)

    def _clear_staging(self) -> None:
        staging = os.open(self.staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for entry in self.staging.iterdir():
                remove_tree(staging, os.fsencode(entry.name))
        finally:
            os.close(staging)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def sandboxes_folder(root: Path) -> Path:
    """Return the folder below the node's data folder that holds all sessions' folders."""
    return root / "sandboxes"


def session_folder(root: Path, session_id: str) -> Path:
    """Return the folder of one session. Raises `ValueError` where that is no session's id."""
    if not _SESSION_ID.fullmatch(session_id):
        raise ValueError(f"not a session id: {session_id!r}")
    return sandboxes_folder(root) / session_id


def stored_sessions(root: Path, instance: str) -> Sequence[str]:
    """List the session ids of an instance that have folders on this node."""
    try:
        names = [entry.name for entry in sandboxes_folder(root).iterdir()]
    except FileNotFoundError:
        return []
    return sorted(
        name for name in names if name.startswith(f"{instance}-") and _SESSION_ID.fullmatch(name)
    )


def _make_folder(folder: Path, mode: int, *, owner: int = 0) -> None:
    """Make the folder with its owner, unless it is there; a workspace keeps its own mode."""
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise
        return
    folder.chmod(mode)
    if owner:
        shutil.chown(folder, owner, owner)
