"""A session's folders: made, mounted, limited and removed, whatever happened before."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor import disk
from services.executor.errors import DiskFullError, SandboxStartError
from services.executor.files import WorkspaceFiles
from services.executor.messages import SessionLimits
from services.executor.paths import SANDBOX_UID
from services.executor.storage import SessionStorage, stored_sessions
from services.executor.usage import measure

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

SESSION = "0123abcd-00000000000000000000000000000001"
LIMITS = SessionLimits(disk_bytes=32 * 1024 * 1024, disk_files=512)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SessionStorage]:
    """Storage that is prepared, and gone after the test."""
    storage = SessionStorage(tmp_path, SESSION, LIMITS)
    storage.prepare()
    yield storage
    storage.destroy()


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStorage]:
    """Storage on a node without loop devices."""

    def unavailable(*_: object) -> None:
        raise disk.DiskUnavailableError("no loop devices")

    monkeypatch.setattr(disk, "mount_image", unavailable)
    storage = SessionStorage(tmp_path, SESSION, LIMITS)
    storage.prepare()
    yield storage
    storage.destroy()


def loop_devices(image: Path) -> str:
    """List the loop devices that hold an image."""
    return subprocess.run(
        ["/usr/sbin/losetup", "-j", str(image)], check=True, capture_output=True, text=True
    ).stdout


def test_folders_have_their_owners_and_modes(storage: SessionStorage) -> None:
    """Only root passes the session's folder; the workspace is the sandbox's."""
    modes = {
        folder: (folder.stat().st_mode & 0o7777, folder.stat().st_uid)
        for folder in (storage.folder, storage.workspace, storage.staging, storage.packages)
    }

    assert modes == {
        storage.folder: (0o700, 0),
        storage.workspace: (0o755, SANDBOX_UID),
        storage.staging: (0o700, 0),
        storage.packages: (0o755, 0),
    }
    assert storage.folder.parent.stat().st_mode & 0o7777 == 0o700


def test_disk_is_mounted_without_devices_and_setuid(storage: SessionStorage) -> None:
    """The workspace's filesystem is a loop mount of its own, `nosuid` and `nodev`."""
    flags = os.statvfs(storage.workspace).f_flag

    assert storage.limited
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV


def test_preparing_again_changes_nothing(storage: SessionStorage) -> None:
    """A second actor finds the mount of the first and takes it over, files and all."""
    (storage.workspace / "kept").write_text("x")

    again = SessionStorage(storage.root, SESSION, LIMITS)
    again.prepare()

    assert (again.workspace / "kept").read_text() == "x"
    assert len(disk.mounts_below(storage.folder)) == 1


def test_files_survive_unmounting(storage: SessionStorage) -> None:
    """What was written is there after unmounting (twice) and mounting again."""
    (storage.workspace / "kept").write_text("x")

    storage.unmount()
    storage.unmount()

    assert not storage.workspace.exists()
    assert loop_devices(storage.image) == ""
    storage.prepare()
    assert (storage.workspace / "kept").read_text() == "x"


def test_leftovers_in_staging_go(storage: SessionStorage) -> None:
    """What a crashed write left staged is removed by the next start."""
    (storage.staging / "left").write_text("x")

    storage.prepare()

    assert list(storage.staging.iterdir()) == []


def test_busy_disk_is_unmounted_lazily_and_mounted_again(storage: SessionStorage) -> None:
    """With a file still open the path is free, and the next mount is the same filesystem."""
    with (storage.workspace / "open").open("w") as file:
        storage.unmount()
        assert not disk.is_mounted(storage.disk)
        storage.prepare()
        file.write("late")
        file.flush()
        seen = (storage.workspace / "open").read_text()

    assert seen == "late"
    assert storage.limited


def test_unclean_disk_is_repaired(storage: SessionStorage) -> None:
    """A disk whose node died without unmounting it mounts again."""
    (storage.workspace / "kept").write_text("x" * 100_000)
    os.sync()
    crashed = storage.folder / "crashed.img"
    subprocess.run(["/usr/bin/cp", "--sparse=always", storage.image, crashed], check=True)
    storage.unmount()
    crashed.rename(storage.image)

    storage.prepare()

    assert (storage.workspace / "kept").read_text() == "x" * 100_000


def test_ruined_disk_is_no_start(storage: SessionStorage) -> None:
    """An image that holds no filesystem any more is reported, never replaced by an empty one."""
    storage.unmount()
    storage.image.write_bytes(bytes(LIMITS.disk_bytes))

    with pytest.raises(SandboxStartError):
        storage.prepare()

    assert not storage.workspace.exists()


def test_unfinished_image_is_made_anew(tmp_path: Path) -> None:
    """A crash before the image was complete leaves nothing that is mistaken for one."""
    storage = SessionStorage(tmp_path, SESSION, LIMITS)
    storage.folder.mkdir(parents=True)
    storage.image.with_suffix(".new").write_bytes(b"half")

    storage.prepare()

    assert storage.limited
    storage.destroy()


def test_destroying_leaves_nothing(storage: SessionStorage) -> None:
    """Mount, loop device and folders are gone, and destroying again is no error."""
    (storage.workspace / "file").write_text("x")
    (storage.packages / "link").symlink_to("/etc")

    storage.destroy()
    storage.destroy()

    assert not storage.folder.exists()
    assert disk.mounts_below(storage.folder) == []
    assert loop_devices(storage.image) == ""
    assert Path("/etc/passwd").exists()


def test_destroying_something_half_made(tmp_path: Path) -> None:
    """A session that crashed between two steps of its start can be removed."""
    storage = SessionStorage(tmp_path, SESSION, LIMITS)
    (storage.folder / "disk").mkdir(parents=True)

    storage.destroy()

    assert not storage.folder.exists()


def test_bytes_are_limited(storage: SessionStorage) -> None:
    """Code that fills the disk meets ENOSPC, and the host's writes a `DiskFullError`."""
    with pytest.raises(OSError, match="No space left"):
        (storage.workspace / "big").write_bytes(bytes(LIMITS.disk_bytes))

    with pytest.raises(DiskFullError):
        WorkspaceFiles(storage).write_file("a/b", bytes(4 * 1024 * 1024))

    assert list(storage.staging.iterdir()) == []
    assert storage.usage().bytes > LIMITS.disk_bytes * 0.8
    WorkspaceFiles(storage).delete_file("big")
    WorkspaceFiles(storage).write_file("a/b", bytes(4 * 1024 * 1024))


def test_inodes_are_limited(storage: SessionStorage) -> None:
    """Code that makes files without end meets ENOSPC, and deleting makes room again."""
    folder = storage.workspace / "many"
    folder.mkdir()

    def fill() -> None:
        for number in range(LIMITS.disk_files + 1):
            (folder / str(number)).touch()

    with pytest.raises(OSError, match="No space left"):
        fill()

    with pytest.raises(DiskFullError):
        WorkspaceFiles(storage).write_file("one-more", b"")

    assert storage.usage().files >= LIMITS.disk_files
    WorkspaceFiles(storage).delete_file("many")
    WorkspaceFiles(storage).write_file("one-more", b"")


def test_more_sessions_than_loop_devices(tmp_path: Path) -> None:
    """Twelve sessions have their disks at once: loop devices are made as needed."""
    storages = [SessionStorage(tmp_path, f"{SESSION[:-2]}{n:02}", LIMITS) for n in range(12)]
    try:
        for storage in storages:
            storage.prepare()

        assert all(storage.limited for storage in storages)
        assert len(stored_sessions(tmp_path, "0123abcd")) == 12
        assert stored_sessions(tmp_path, "ffffffff") == []
    finally:
        for storage in storages:
            storage.destroy()
    assert stored_sessions(tmp_path, "0123abcd") == []


@pytest.mark.parametrize("session", ["", "..", ".", "a/b", "../x", "a\0", "-a", "a" * 200])
def test_a_session_id_is_no_path(tmp_path: Path, session: str) -> None:
    """No session id reaches another folder."""
    with pytest.raises(ValueError, match="not a session id"):
        SessionStorage(tmp_path, session, LIMITS)


def test_without_loop_devices_a_plain_folder_is_watched(plain: SessionStorage) -> None:
    """Where nothing can be mounted, usage is measured and the host's writes are refused."""
    files = WorkspaceFiles(plain)

    files.write_file("small", b"x" * 1024)

    assert not plain.limited
    assert plain.usage().bytes >= 1024
    with pytest.raises(DiskFullError):
        files.write_file("big", bytes(LIMITS.disk_bytes))
    assert list(plain.staging.iterdir()) == []


def test_a_plain_folder_stays_one(plain: SessionStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in a plain folder are never hidden by an image mounted over them later."""
    (plain.workspace / "kept").write_text("x")
    monkeypatch.undo()

    plain.prepare()

    assert not plain.limited
    assert (plain.workspace / "kept").read_text() == "x"


def test_measuring_follows_no_link_and_has_an_end(tmp_path: Path) -> None:
    """Links count as themselves, hard links once, and bottomless trees as over the limit."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "root").symlink_to("/")
    (tmp_path / "a" / "file").write_bytes(bytes(8192))
    (tmp_path / "a" / "again").hardlink_to(tmp_path / "a" / "file")
    used = measure(tmp_path)
    deep = tmp_path
    for _ in range(250):
        deep /= "d"
        deep.mkdir()

    assert used.files == 3
    assert 8192 <= used.bytes < 65_536
    assert measure(tmp_path).files > 10**9
