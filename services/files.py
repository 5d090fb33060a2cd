"""Files of a workspace: small ones inline, others over signed addresses."""

from collections.abc import AsyncIterable, Sequence
from contextlib import suppress

from services.checks import check_first, check_seconds
from services.conversion import moment
from services.downloads import Download as Download  # noqa: PLC0414 # what `open_download` returns is for callers too
from services.entities import FileEntry, Sandbox, SandboxId, UploadAddress, Viewer
from services.errors import BadUserInputError, NotFoundError, PayloadTooLargeError
from services.executor.errors import ExecutorError
from services.executor.interface import Executor
from services.executor.messages import FileInfo, FileKind
from services.limits import (
    INLINE_CONTENT_BYTES,
    MAX_ADDRESS_SECONDS,
    MAX_FILES_PAGE,
    MAX_UPLOAD_BYTES,
    TRANSFER_CHUNK_BYTES,
)
from services.losses import Losses
from services.paths import check_path
from services.sandbox_rows import need_running, require_owner, require_running
from services.signing import Transfer, TransferMethod, TransferSigner, expiry_after
from services.transactions import Transactions


class FileService:
    """What a viewer does with files, and what a signed address does without one."""

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        losses: Losses,
        signer: TransferSigner,
        *,
        max_transfer_bytes: int,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._losses = losses
        self._signer = signer
        self._max_transfer_bytes = max_transfer_bytes

    async def list(
        self, viewer: Viewer, sandbox: Sandbox, path: str, first: int, after: str | None
    ) -> Sequence[FileEntry]:
        """List a folder by name, from the name after `after` on."""
        check_first(first, MAX_FILES_PAGE)
        session_id, folder = _running_session(viewer, sandbox), check_path(path, folder=True)
        async with self._losses.noticed(session_id):
            found = await self._executor.list_files(session_id, folder)
        names = sorted(found, key=lambda info: info.name)
        wanted = [info for info in names if after is None or info.name > after]
        return [_entry(info) for info in wanted[:first]]

    async def get(self, viewer: Viewer, sandbox: Sandbox, path: str) -> FileEntry | None:
        """Return a file; None where there is none, or something else."""
        session_id, name = _running_session(viewer, sandbox), check_path(path)
        async with self._losses.noticed(session_id):
            info = await self._executor.file_info(session_id, name)
        if info is not None and info.kind is FileKind.SYMLINK:
            raise BadUserInputError("`path` names a symbolic link: name the file.", field="path")
        return None if info is None or info.kind is not FileKind.FILE else _entry(info)

    async def content(self, viewer: Viewer, sandbox: Sandbox, path: str) -> bytes | None:
        """Return a file's bytes; None where it is over 1 MiB."""
        session_id, name = _running_session(viewer, sandbox), check_path(path)
        async with self._losses.noticed(session_id):
            info = await self._executor.file_info(session_id, name)
            if info is not None and info.size_bytes > INLINE_CONTENT_BYTES:
                return None
            part = await self._executor.read_file(session_id, name, 0, INLINE_CONTENT_BYTES)
        # It may have grown since.
        return None if part.info.size_bytes > INLINE_CONTENT_BYTES else part.data

    async def upload(self, viewer: Viewer, sandbox_id: str, path: str, content: bytes) -> FileEntry:
        """Write one file of at most 32 MiB, atomically."""
        name = check_path(path)
        if len(content) > MAX_UPLOAD_BYTES:
            raise PayloadTooLargeError(
                f"`content` is over {MAX_UPLOAD_BYTES} bytes: use `createUploadUrl`.",
                field="content",
                limitBytes=MAX_UPLOAD_BYTES,
            )
        session_id = await self._session(viewer, sandbox_id)
        async with self._losses.noticed(session_id):
            return _entry(await self._executor.write_file(session_id, name, content))

    async def delete(self, viewer: Viewer, sandbox_id: str, path: str) -> str:
        """Remove a file, or a folder with all below it, and return its path."""
        name = check_path(path.rstrip("/") or path)
        session_id = await self._session(viewer, sandbox_id)
        async with self._losses.noticed(session_id):
            await self._executor.delete_file(session_id, name)
        return name

    async def upload_address(
        self, viewer: Viewer, sandbox_id: str, path: str, expires_in: int
    ) -> UploadAddress:
        """Sign an address that takes one file's bytes by PUT."""
        name = check_path(path)
        _check_expiry(expires_in)
        row = await need_running(self._transactions, viewer, sandbox_id)
        transfer = Transfer(
            method=TransferMethod.PUT,
            user_id=viewer.id,
            sandbox_id=SandboxId(row.id),
            path=name,
            max_bytes=self._max_transfer_bytes,
            expires_at=expiry_after(expires_in),
        )
        return UploadAddress(
            self._signer.address(transfer), transfer.expires_at, transfer.max_bytes
        )

    async def download_url(
        self, viewer: Viewer, sandbox: Sandbox, path: str, expires_in: int
    ) -> str:
        """Sign an address that serves one file's bytes by GET."""
        _check_expiry(expires_in)
        require_owner(viewer, sandbox)
        return self._signer.address(
            Transfer(
                method=TransferMethod.GET,
                user_id=viewer.id,
                sandbox_id=sandbox.id,
                path=check_path(path),
                max_bytes=0,
                expires_at=expiry_after(expires_in),
            )
        )

    async def open_download(self, signature: str) -> Download:
        """Return the file that the address was signed for.

        Raises `ForbiddenError`, `NotFoundError`, `ConflictError`, `BadUserInputError` and
        `ServiceUnavailableError`.
        """
        transfer = self._signer.verify(signature, TransferMethod.GET)
        session_id = await self._session(transfer.viewer(), str(transfer.sandbox_id))
        async with self._losses.noticed(session_id):
            info = await self._executor.file_info(session_id, transfer.path)
        if info is None or info.kind is not FileKind.FILE:
            raise NotFoundError("There is no such file any more.")
        return Download(self._executor, self._losses, session_id, info, transfer.user_id)

    async def receive_upload(
        self, signature: str, length: int | None, chunks: AsyncIterable[bytes]
    ) -> FileEntry:
        """Write the bytes to the file that the address was signed for, atomically.

        `length` is what the client announced. Nothing stays of an upload that was cut short.
        Raises `PayloadTooLargeError` besides what `open_download` raises.
        """
        transfer = self._signer.verify(signature, TransferMethod.PUT)
        if length is not None and length > transfer.max_bytes:
            raise _too_large(transfer)
        session_id = await self._session(transfer.viewer(), str(transfer.sandbox_id))
        async with self._losses.noticed(session_id):
            upload_id = await self._executor.begin_upload(
                session_id, transfer.path, transfer.max_bytes
            )
            try:
                await self._append(session_id, upload_id, transfer, chunks)
                return _entry(await self._executor.commit_upload(session_id, upload_id))
            except BaseException:
                with suppress(ExecutorError):  # the session drops what nobody finishes
                    await self._executor.abort_upload(session_id, upload_id)
                raise

    async def _append(
        self, session_id: str, upload_id: str, transfer: Transfer, chunks: AsyncIterable[bytes]
    ) -> None:
        received, buffer = 0, bytearray()
        async for chunk in chunks:
            received += len(chunk)
            if received > transfer.max_bytes:
                raise _too_large(transfer)
            buffer += chunk
            while len(buffer) >= TRANSFER_CHUNK_BYTES:
                piece = bytes(buffer[:TRANSFER_CHUNK_BYTES])
                del buffer[:TRANSFER_CHUNK_BYTES]
                await self._executor.append_upload(session_id, upload_id, piece)
        if buffer:
            await self._executor.append_upload(session_id, upload_id, bytes(buffer))

    async def _session(self, viewer: Viewer, sandbox_id: str) -> str:
        row = await need_running(self._transactions, viewer, sandbox_id)
        return row.session_id or ""


def _running_session(viewer: Viewer, sandbox: Sandbox) -> str:
    require_owner(viewer, sandbox)
    require_running(sandbox.status)
    return sandbox.session_id or ""


def _entry(info: FileInfo) -> FileEntry:
    return FileEntry(
        name=info.name,
        path=info.path,
        kind=info.kind.value,
        size_bytes=info.size_bytes,
        modified_at=moment(info.modified_at),
    )


def _check_expiry(seconds: int) -> None:
    check_seconds(seconds, "expiresInSeconds", shortest=1, longest=MAX_ADDRESS_SECONDS)


def _too_large(transfer: Transfer) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The address takes at most {transfer.max_bytes} bytes.", limitBytes=transfer.max_bytes
    )
