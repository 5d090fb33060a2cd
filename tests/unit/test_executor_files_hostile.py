"""What code plants in its workspace: every trap is refused, and nothing outside is touched."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.executor import beneath
from services.executor.beneath import require_openat2
from services.executor.errors import FileMissingError, InvalidPathError, SandboxStartError
from services.executor.files import WorkspaceFiles
from services.executor.messages import FileKind
from services.executor.storage import SessionStorage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@contextlib.contextmanager
def meanwhile(step: Callable[[], None]) -> Iterator[None]:
    """Repeat what hostile code would do in another thread; its own failures are its own."""
    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                step()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_links_are_never_followed(files: WorkspaceFiles, workspace: Path, tmp_path: Path) -> None:
    """Through a planted link, to outside or inside, nothing is read, written or removed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("host")
    (workspace / "real").mkdir()
    links = {"out": str(outside), "up": "../..", "in": "real", "proc": "/proc/self/root"}
    links["self"] = "self"
    for name, target in links.items():
        (workspace / name).symlink_to(target)
    (workspace / "file").symlink_to(outside / "secret")

    for name in links:
        with pytest.raises(InvalidPathError):
            files.list_files(name)
        with pytest.raises(InvalidPathError):
            files.read_file(f"{name}/secret", 0, 10)
        with pytest.raises(InvalidPathError):
            files.write_file(f"{name}/secret", b"sandbox")
        with pytest.raises(InvalidPathError):
            files.delete_file(f"{name}/secret")
        with pytest.raises(InvalidPathError):
            files.file_info(f"{name}/secret")
    with pytest.raises(InvalidPathError):
        files.read_file("file", 0, 10)
    with pytest.raises(InvalidPathError):
        files.write_file("file", b"sandbox")

    assert (outside / "secret").read_text() == "host"
    assert sorted(entry.name for entry in outside.iterdir()) == ["secret"]


def test_a_link_is_described_and_deleted_as_itself(
    files: WorkspaceFiles, workspace: Path, tmp_path: Path
) -> None:
    """Deleting a link leaves what it points at, a folder's links included."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (workspace / "link").symlink_to(outside)
    (workspace / "folder").mkdir()
    (workspace / "folder" / "link").symlink_to(outside)
    info = files.file_info("link")

    files.delete_file("link")
    files.delete_file("folder")

    assert info is not None
    assert info.kind is FileKind.SYMLINK
    assert files.list_files(".") == []
    assert (outside / "kept").exists()


def test_nothing_special_is_opened(files: WorkspaceFiles, workspace: Path) -> None:
    """A fifo, a device, a socket or a folder is refused at once, and never waited for."""
    os.mkfifo(workspace / "fifo")
    os.mknod(workspace / "zero", 0o20666, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(workspace)
        try:
            server.bind("socket")
        finally:
            os.chdir(before)
    (workspace / "folder").mkdir()
    began = time.monotonic()

    for name in ("fifo", "zero", "socket", "folder"):
        with pytest.raises(InvalidPathError):
            files.read_file(name, 0, 10)
        with pytest.raises(InvalidPathError):
            files.write_file(name, b"x")

    assert time.monotonic() - began < 5
    for name in ("fifo", "zero", "socket", "folder"):
        files.delete_file(name)
    assert files.list_files(".") == []


def test_permissions_that_code_took_away_do_not_matter(
    files: WorkspaceFiles, workspace: Path
) -> None:
    """A folder of mode 0000 can be listed, written to and removed."""
    (workspace / "shut").mkdir(mode=0)

    files.write_file("shut/f", b"x")

    assert [entry.name for entry in files.list_files("shut")] == ["f"]
    files.delete_file("shut")


def test_a_hard_link_is_replaced_not_written_through(
    files: WorkspaceFiles, workspace: Path
) -> None:
    """Writing one name leaves the other names of the old file as they were."""
    files.write_file("a", b"old")
    (workspace / "b").hardlink_to(workspace / "a")

    files.write_file("a", b"new")

    assert files.read_file("b", 0, 9).data == b"old"


def test_deep_nesting_is_removed(files: WorkspaceFiles, workspace: Path) -> None:
    """Ten thousand levels cost neither the stack nor descriptors."""
    plant_deep(workspace, b"deep", 10_000)

    files.delete_file("deep")

    assert files.list_files(".") == []


def plant_deep(workspace: Path, name: bytes, levels: int) -> None:
    """Nest folders far below what a path can name, with a file in each tenth."""
    folder = os.open(workspace, os.O_RDONLY)
    for level in range(levels):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
        if level % 10 == 0:
            os.close(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)


def test_a_deep_session_is_destroyed(storage: SessionStorage) -> None:
    """What code nested in a plain folder does not keep the session from being removed."""
    plant_deep(storage.packages, b"deep", 3_000)

    storage.destroy()

    assert not storage.folder.exists()


def test_swapping_a_folder_for_a_link_wins_nothing(
    files: WorkspaceFiles, workspace: Path, tmp_path: Path
) -> None:
    """While code swaps a folder and a link to the host, nothing outside is ever touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"host")
    (workspace / "folder").mkdir()
    (workspace / "link").symlink_to(outside)

    def swap() -> None:
        (workspace / "folder").rename(workspace / "aside")
        (workspace / "link").rename(workspace / "folder")
        (workspace / "folder").rename(workspace / "link")
        (workspace / "aside").rename(workspace / "folder")

    seen = set()
    with meanwhile(swap):
        until = time.monotonic() + 3
        while time.monotonic() < until:
            with contextlib.suppress(InvalidPathError, FileMissingError):
                files.write_file("folder/f", b"sandbox")
            with contextlib.suppress(InvalidPathError, FileMissingError):
                seen.add(files.read_file("folder/f", 0, 10).data)
            with contextlib.suppress(InvalidPathError, FileMissingError):
                seen.update(entry.name.encode() for entry in files.list_files("folder"))
            with contextlib.suppress(InvalidPathError, FileMissingError):
                files.delete_file("folder/f")

    assert b"host" not in seen
    assert b"sandbox" in seen
    assert (outside / "f").read_bytes() == b"host"
    assert [entry.name for entry in outside.iterdir()] == ["f"]


def test_deleting_while_code_swaps_and_fills(
    files: WorkspaceFiles, workspace: Path, tmp_path: Path
) -> None:
    """A folder is removed under the hands of code that swaps its parts for links outside."""
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "f").write_bytes(b"host")
    victim = workspace / "victim"

    def swap() -> None:
        (victim / "sub").mkdir()
        (victim / "sub" / "f").touch()
        (victim / "sub").rename(workspace / f"aside{time.monotonic_ns()}")
        (victim / "sub").symlink_to(outside / "sub")
        (victim / "sub").unlink()

    with meanwhile(swap):
        for _ in range(200):
            with contextlib.suppress(OSError):
                victim.mkdir()
            with contextlib.suppress(FileMissingError):
                files.delete_file("victim")

    assert (outside / "sub" / "f").read_bytes() == b"host"


def test_a_kernel_without_openat2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files can't be opened safely, no session starts."""
    monkeypatch.setattr(beneath, "SYS_OPENAT2", 100_000)

    with pytest.raises(SandboxStartError, match="openat2"):
        require_openat2()
