"""Uploads in pieces: staged, bounded, and in place only when complete."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor.errors import (
    DiskFullError,
    FileMissingError,
    FileTooLargeError,
    InvalidPathError,
    QueueFullError,
)
from services.executor.files import WorkspaceFiles
from services.executor.messages import SessionLimits
from services.executor.storage import SessionStorage
from services.executor.uploads import MAX_CHUNK_BYTES, MAX_OPEN, Uploads

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

LIMITS = SessionLimits(disk_bytes=32 * 1024 * 1024, disk_files=512, upload_bytes=2**30)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SessionStorage]:
    """A prepared session whose disk is really mounted."""
    storage = SessionStorage(tmp_path, "0123abcd-uploads", LIMITS)
    storage.prepare()
    yield storage
    storage.destroy()


@pytest.fixture
def files(storage: SessionStorage) -> WorkspaceFiles:
    """Where uploads go."""
    return WorkspaceFiles(storage)


@pytest.fixture
def uploads(files: WorkspaceFiles) -> Iterator[Uploads]:
    """What is tested."""
    uploads = Uploads(files, LIMITS.upload_bytes)
    yield uploads
    uploads.close()


def test_pieces_become_one_file(uploads: Uploads, files: WorkspaceFiles) -> None:
    """Nothing is at the path until the commit, then all pieces in order."""
    upload = uploads.begin("a/b.bin", 100)
    uploads.append(upload, b"one")
    uploads.append(upload, b"")
    uploads.append(upload, b"two")
    before = files.file_info("a/b.bin")

    info = uploads.commit(upload)

    assert before is None
    assert files.read_file("a/b.bin", 0, 100).data == b"onetwo"
    assert files.file_info("a/b.bin") == info
    with pytest.raises(FileMissingError):
        uploads.append(upload, b"three")


def test_too_many_bytes_end_the_upload(uploads: Uploads, storage: SessionStorage) -> None:
    """The first byte over the limit drops what was staged."""
    upload = uploads.begin("f", 10)
    uploads.append(upload, b"0123456789")

    with pytest.raises(FileTooLargeError) as raised:
        uploads.append(upload, b"x")

    assert raised.value.details["limit"] == 10
    assert list(storage.staging.iterdir()) == []
    with pytest.raises(FileMissingError):
        uploads.commit(upload)
    with pytest.raises(FileTooLargeError):
        uploads.append(uploads.begin("f", 2**30), bytes(MAX_CHUNK_BYTES + 1))


def test_a_full_disk_ends_the_upload(uploads: Uploads, storage: SessionStorage) -> None:
    """Staged bytes count in the disk limit, and are given back."""
    upload = uploads.begin("f", 2**30)

    for _ in range(7):
        uploads.append(upload, bytes(4 * 1024 * 1024))
    with pytest.raises(DiskFullError):
        uploads.append(upload, bytes(4 * 1024 * 1024))

    assert list(storage.staging.iterdir()) == []
    assert storage.usage().bytes < 1024 * 1024


def test_open_uploads_are_bounded(uploads: Uploads) -> None:
    """Eight are open at once; dropping one makes room."""
    opened = [uploads.begin(f"f{number}", 10) for number in range(MAX_OPEN)]

    with pytest.raises(QueueFullError):
        uploads.begin("g", 10)

    uploads.abort(opened[0])
    uploads.abort(opened[0])
    uploads.begin("g", 10)


def test_idle_uploads_expire(uploads: Uploads, storage: SessionStorage) -> None:
    """What gets no bytes for long is dropped; what does is kept."""
    upload = uploads.begin("f", 10)

    assert uploads.expire(60.0) == 0
    assert uploads.expire(-1.0) == 1

    assert list(storage.staging.iterdir()) == []
    with pytest.raises(FileMissingError):
        uploads.append(upload, b"x")


def test_bad_paths_are_refused_first(uploads: Uploads) -> None:
    """No upload is opened for a path that no file can have."""
    for path in ("..", "/etc/x", "", "a/", "a\0"):
        with pytest.raises(InvalidPathError):
            uploads.begin(path, 10)


def test_a_link_planted_meanwhile_is_not_followed(
    uploads: Uploads, storage: SessionStorage, tmp_path: Path
) -> None:
    """A folder swapped for a link before the commit makes it fail, and nothing is left."""
    upload = uploads.begin("a/f", 10)
    uploads.append(upload, b"x")
    (storage.workspace / "a").symlink_to(tmp_path)

    with pytest.raises(InvalidPathError):
        uploads.commit(upload)

    assert not (tmp_path / "f").exists()
    assert list(storage.staging.iterdir()) == []


def test_closing_lets_the_disk_go(uploads: Uploads, storage: SessionStorage) -> None:
    """Once closed, no descriptor keeps the disk from being unmounted."""
    uploads.begin("f", 10)

    uploads.close()
    storage.unmount()

    assert not storage.limited


def test_threads_share_uploads(uploads: Uploads, files: WorkspaceFiles) -> None:
    """Several uploads written at once keep their bytes apart; an abort races no write."""

    def send(number: int) -> None:
        upload = uploads.begin(f"f{number}", 10**6)
        for _ in range(50):
            uploads.append(upload, bytes([number]) * 1000)
        uploads.commit(upload)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(6):
        assert files.read_file(f"f{number}", 0, 10**6).data == bytes([number]) * 50_000
