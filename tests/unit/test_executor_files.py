"""Files of a workspace: what is written comes back, is listed, and is bounded."""

import os
import time
from pathlib import Path

import pytest

from services.executor.errors import (
    FileMissingError,
    FileTooLargeError,
    InvalidPathError,
    SessionDeadError,
)
from services.executor.files import MAX_READ_BYTES, WorkspaceFiles
from services.executor.messages import FileKind
from services.executor.paths import SANDBOX_UID
from services.executor.storage import SessionStorage
from tests.support.disks import LIMITS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.mark.parametrize("content", [b"", b"\0\xff\r\n" * 100, bytes(range(256)) * 4_003 + b"end"])
def test_bytes_come_back_equal(files: WorkspaceFiles, content: bytes) -> None:
    """Any bytes are read as they were written, under any kind of name."""
    written = files.write_file("/workspace/new folder/é\N{SNOWMAN}.bin", content)

    read = files.read_file("new folder/é\N{SNOWMAN}.bin", 0, MAX_READ_BYTES)

    assert read.data == content
    assert read.info == written
    assert written.size_bytes == len(content)
    assert written.path == "new folder/é\N{SNOWMAN}.bin"
    assert files.file_info(written.path) == written


def test_written_files_and_folders_are_the_sandboxs(files: WorkspaceFiles, workspace: Path) -> None:
    """Code in the sandbox owns what was uploaded, made folders included."""
    files.write_file("a/b/c.txt", b"x")

    for made, mode in (("a", 0o755), ("a/b", 0o755), ("a/b/c.txt", 0o644)):
        status = (workspace / made).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (
            SANDBOX_UID,
            SANDBOX_UID,
            mode,
        )


def test_ranges(files: WorkspaceFiles) -> None:
    """A range is what is there of it: less at the end, nothing after it."""
    files.write_file("f", b"0123456789")

    assert files.read_file("f", 2, 3).data == b"234"
    assert files.read_file("f", 8, 100).data == b"89"
    assert files.read_file("f", 10, 1).data == b""
    with pytest.raises(InvalidPathError):
        files.read_file("f", -1, 1)


def test_one_read_is_bounded(files: WorkspaceFiles, workspace: Path) -> None:
    """A read returns at most 4 MiB, though the file be sparse and huge."""
    with (workspace / "huge").open("wb") as file:
        file.truncate(10**12)

    read = files.read_file("huge", 10**11, 10**11)

    assert len(read.data) == MAX_READ_BYTES
    assert read.info.size_bytes == 10**12


def test_version_tells_of_a_change(files: WorkspaceFiles, workspace: Path) -> None:
    """The version is the same while nobody writes, and another one afterwards."""
    first = files.write_file("f", b"same").version
    second = files.read_file("f", 0, 4).info.version
    files.write_file("f", b"same")
    third = files.read_file("f", 0, 4).info.version
    (workspace / "f").write_bytes(b"less")
    os.utime(workspace / "f", ns=(0, 0))

    assert first == second
    assert len({second, third, files.read_file("f", 0, 4).info.version}) == 3


@pytest.mark.parametrize(("writes", "steady"), [(1, True), (100, False)])
def test_a_read_under_writing_hands_is_marked(
    files: WorkspaceFiles,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
    *,
    steady: bool,
) -> None:
    """Bytes read while somebody wrote are read again, or have a version that none other has."""
    (workspace / "f").write_bytes(b"old")
    left = iter(range(writes))
    pread = os.pread

    def read_and_write(file: int, length: int, offset: int) -> bytes:
        data = pread(file, length, offset)
        if next(left, None) is not None:
            (workspace / "f").write_bytes(b"new" * (offset + 1 + next(left, 0)))
        return data

    monkeypatch.setattr(os, "pread", read_and_write)

    version = files.read_file("f", 0, 3).info.version

    assert version.endswith("!") is not steady


def test_listing(files: WorkspaceFiles, workspace: Path) -> None:
    """A listing is by name, with each kind told apart and links not followed."""
    files.write_file("b.txt", b"12345")
    (workspace / "a").mkdir()
    (workspace / "c").symlink_to("/etc/passwd")
    os.mkfifo(workspace / "d")
    (workspace / os.fsdecode(b"e\xff")).touch()

    entries = files.list_files(".")

    assert [(entry.name, entry.kind) for entry in entries] == [
        ("a", FileKind.DIRECTORY),
        ("b.txt", FileKind.FILE),
        ("c", FileKind.SYMLINK),
        ("d", FileKind.OTHER),
        ("e�", FileKind.FILE),
    ]
    assert entries[1].size_bytes == 5
    assert abs(entries[1].modified_at - time.time()) < 60
    assert entries[2].size_bytes == len("/etc/passwd")
    assert [entry.path for entry in files.list_files("a/")] == []


def test_listing_below(files: WorkspaceFiles) -> None:
    """Paths in a listing of a folder are relative to the workspace."""
    files.write_file("a/b/c", b"")

    assert [entry.path for entry in files.list_files("/workspace/a")] == ["a/b"]
    assert files.file_info(".") is not None
    with pytest.raises(InvalidPathError):
        files.list_files("a/b/c")
    with pytest.raises(FileMissingError):
        files.list_files("a/x")


def test_what_is_missing(files: WorkspaceFiles) -> None:
    """Nothing there is None from `file_info`, an error elsewhere."""
    files.write_file("f", b"")

    assert files.file_info("x/y") is None
    with pytest.raises(FileMissingError):
        files.read_file("x", 0, 1)
    with pytest.raises(FileMissingError):
        files.delete_file("x")
    with pytest.raises(InvalidPathError):
        files.read_file("f/x", 0, 1)
    with pytest.raises(InvalidPathError):
        files.write_file("f/x/y", b"")


def test_times_of_any_year_are_told_as_dates(files: WorkspaceFiles, workspace: Path) -> None:
    """A file's time before 1970 does not leave what a date can say."""
    (workspace / "f").touch()
    os.utime(workspace / "f", (-(10**9), -(10**9)))

    assert files.list_files(".")[0].modified_at == 0.0


def test_writing_is_bounded_and_leaves_nothing_behind(
    files: WorkspaceFiles, storage: SessionStorage
) -> None:
    """A refused write leaves no staged bytes, whatever refused it."""
    (storage.workspace / "folder").mkdir()
    with pytest.raises(FileTooLargeError) as raised:
        files.write_file("f", bytes(LIMITS.upload_bytes + 1))
    with pytest.raises(InvalidPathError):
        files.write_file("folder", b"x")
    with pytest.raises(InvalidPathError):
        files.write_file("new/", b"x")
    with pytest.raises(InvalidPathError):
        files.write_file(".", b"x")

    assert raised.value.details["limit"] == LIMITS.upload_bytes
    assert list(storage.staging.iterdir()) == []
    assert [entry.name for entry in files.list_files(".")] == ["folder"]


def test_the_workspace_itself_stays(files: WorkspaceFiles) -> None:
    """It can't be deleted, under none of its names."""
    for path in ("", ".", "/workspace", "/workspace/", "./."):
        with pytest.raises(InvalidPathError):
            files.delete_file(path)


def test_a_huge_folder_is_refused_not_listed(
    files: WorkspaceFiles, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing stops at its bound, and says so."""
    monkeypatch.setattr("services.executor.entries.MAX_ENTRIES", 100)
    for number in range(101):
        (workspace / str(number)).touch()

    with pytest.raises(FileTooLargeError):
        files.list_files(".")


def test_an_unmounted_workspace_is_no_empty_one(
    files: WorkspaceFiles, storage: SessionStorage
) -> None:
    """Without its disk nothing is read, and nothing is written to the folder below it."""
    storage.unmount()

    with pytest.raises(SessionDeadError):
        files.list_files(".")
    with pytest.raises(SessionDeadError):
        files.write_file("f", b"x")


def test_no_descriptor_is_left_open(files: WorkspaceFiles) -> None:
    """After all of it, as many descriptors are open as before."""
    before = len(list(Path("/proc/self/fd").iterdir()))

    files.write_file("a/b", b"x")
    files.read_file("a/b", 0, 1)
    files.list_files("a")
    files.delete_file("a")
    with pytest.raises(FileMissingError):
        files.read_file("a/b", 0, 1)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
