"""The actor's calls about files, for the API."""

import asyncio
from collections.abc import Sequence

from services.executor.messages import FileInfo, FileRange
from services.executor.owner import SessionOwner


class FileCalls(SessionOwner):
    """Reads and writes of the workspace, each beside the event loop."""

    async def list_files(self, path: str) -> Sequence[FileInfo]:
        """List a folder."""
        self._open()
        return await asyncio.to_thread(self._require(self._files).list_files, path)

    async def file_info(self, path: str) -> FileInfo | None:
        """Describe one entry."""
        self._open()
        return await asyncio.to_thread(self._require(self._files).file_info, path)

    async def read_file(self, path: str, offset: int, length: int) -> FileRange:
        """Read bytes of a file."""
        self._open()
        return await asyncio.to_thread(self._require(self._files).read_file, path, offset, length)

    async def write_file(self, path: str, content: bytes) -> FileInfo:
        """Write a file."""
        self._open()
        return await asyncio.to_thread(self._require(self._files).write_file, path, content)

    async def delete_file(self, path: str) -> None:
        """Delete a file or a folder."""
        self._open()
        await asyncio.to_thread(self._require(self._files).delete_file, path)

    async def begin_upload(self, path: str, max_bytes: int) -> str:
        """Open a staged upload."""
        self._open()
        return await asyncio.to_thread(self._require(self._uploads).begin, path, max_bytes)

    async def append_upload(self, upload_id: str, chunk: bytes) -> None:
        """Add to a staged upload."""
        self._open()
        await asyncio.to_thread(self._require(self._uploads).append, upload_id, chunk)

    async def commit_upload(self, upload_id: str) -> FileInfo:
        """Put a staged upload in place."""
        self._open()
        return await asyncio.to_thread(self._require(self._uploads).commit, upload_id)

    async def abort_upload(self, upload_id: str) -> None:
        """Drop a staged upload."""
        await asyncio.to_thread(self._require(self._uploads).abort, upload_id)
