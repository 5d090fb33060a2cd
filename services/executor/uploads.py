"""Uploads in pieces: staged on the session's disk, put in place at once when complete."""

import secrets
import threading
import time
from dataclasses import dataclass, field

from services.executor.errors import FileMissingError, QueueFullError
from services.executor.files import WorkspaceFiles, too_large, writable
from services.executor.messages import FileInfo
from services.executor.paths import WorkspacePath

MAX_OPEN = 8
"""Uploads that one session has open at once; each is a descriptor."""
MAX_CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class _Upload:
    """One staged file; its lock is held while bytes are written to it."""

    where: WorkspacePath
    max_bytes: int
    name: str
    file: int
    size: int = 0
    used_at: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: bool = False


class Uploads:
    """The open uploads of one session. Blocking; safe to call from several threads."""

    def __init__(self, files: WorkspaceFiles, max_bytes: int) -> None:
        """Stage uploads of at most `max_bytes` each, whatever a caller asks for."""
        self._files = files
        self._max_bytes = max_bytes
        self._open: dict[str, _Upload] = {}
        self._lock = threading.Lock()

    def begin(self, path: str, max_bytes: int) -> str:
        """Open an upload and return its id.

        Raises `InvalidPathError`, `DiskFullError`, and `QueueFullError` over `MAX_OPEN`.
        """
        where = writable(path)
        with self._lock:
            if len(self._open) >= MAX_OPEN:
                raise QueueFullError(
                    f"{MAX_OPEN} uploads to this sandbox are open: wait for one to end.",
                    limit=MAX_OPEN,
                )
            name, file = self._files.stage()
            upload_id = secrets.token_hex(16)
            self._open[upload_id] = _Upload(where, min(max_bytes, self._max_bytes), name, file)
        return upload_id

    def append(self, upload_id: str, chunk: bytes) -> None:
        """Add bytes. Raises `FileTooLargeError`, `DiskFullError`; both end the upload.

        Raises `FileMissingError` where there is no such upload (any more).
        """
        upload = self._get(upload_id)
        try:
            with upload.lock:
                self._append(upload, chunk)
        except BaseException:
            self.abort(upload_id)
            raise

    def commit(self, upload_id: str) -> FileInfo:
        """Put the file in place and end the upload, which is over even where that fails."""
        upload = self._get(upload_id)
        try:
            with upload.lock:
                _require_open(upload)
                return self._files.put_in_place(upload.name, upload.file, upload.where)
        finally:
            self.abort(upload_id)

    def abort(self, upload_id: str) -> None:
        """Drop an upload; one unknown is no error."""
        with self._lock:
            upload = self._open.pop(upload_id, None)
        if upload is not None:
            with upload.lock:
                upload.closed = True
                self._files.unstage(upload.name, upload.file)

    def expire(self, older_than: float) -> int:
        """Drop uploads that got no bytes for so many seconds; return how many."""
        before = time.monotonic() - older_than
        with self._lock:
            idle = [key for key, upload in self._open.items() if upload.used_at < before]
        for upload_id in idle:
            self.abort(upload_id)
        return len(idle)

    def close(self) -> None:
        """Drop all uploads, so that the disk can be unmounted. Idempotent."""
        with self._lock:
            upload_ids = list(self._open)
        for upload_id in upload_ids:
            self.abort(upload_id)

    def _get(self, upload_id: str) -> _Upload:
        with self._lock:
            upload = self._open.get(upload_id)
        if upload is None:
            raise _unknown()
        return upload

    def _append(self, upload: _Upload, chunk: bytes) -> None:
        _require_open(upload)
        if len(chunk) > MAX_CHUNK_BYTES:
            raise too_large(MAX_CHUNK_BYTES)
        if upload.size + len(chunk) > upload.max_bytes:
            raise too_large(upload.max_bytes)
        self._files.append(upload.file, chunk)
        upload.size += len(chunk)
        upload.used_at = time.monotonic()


def _require_open(upload: _Upload) -> None:
    """Refuse an upload that another thread ended while this one waited for its lock."""
    if upload.closed:
        raise _unknown()


def _unknown() -> FileMissingError:
    return FileMissingError("There is no such upload (any more): begin it again.")
