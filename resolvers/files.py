"""Fields that reach a workspace."""

from collections.abc import Sequence

from resolvers.context import Context
from resolvers.operation import operation
from services.entities import FileEntry, Sandbox, UploadAddress


async def list_files(
    context: Context, sandbox: Sandbox, path: str, first: int, after: str | None
) -> Sequence[FileEntry]:
    """Resolve `Sandbox.files`."""
    async with operation.get().turns.take():
        return await context.services.files.list(context.viewer, sandbox, path, first, after)


async def get(context: Context, sandbox: Sandbox, path: str) -> FileEntry | None:
    """Resolve `Sandbox.file`."""
    async with operation.get().turns.take():
        return await context.services.files.get(context.viewer, sandbox, path)


async def content(context: Context, sandbox: Sandbox, path: str) -> bytes | None:
    """Resolve `File.content`."""
    async with operation.get().turns.take():
        return await context.services.files.content(context.viewer, sandbox, path)


async def download_url(
    context: Context, sandbox: Sandbox, path: str, expires_in_seconds: int
) -> str:
    """Resolve `File.downloadUrl`."""
    return await context.services.files.download_url(
        context.viewer, sandbox, path, expires_in_seconds
    )


async def upload(context: Context, sandbox_id: str, path: str, data: bytes) -> FileEntry:
    """Resolve `Mutation.uploadFile`."""
    return await context.services.files.upload(context.viewer, sandbox_id, path, data)


async def create_upload_url(
    context: Context, sandbox_id: str, path: str, expires_in_seconds: int
) -> UploadAddress:
    """Resolve `Mutation.createUploadUrl`."""
    return await context.services.files.upload_address(
        context.viewer, sandbox_id, path, expires_in_seconds
    )


async def delete(context: Context, sandbox_id: str, path: str) -> str:
    """Resolve `Mutation.deleteFile`."""
    return await context.services.files.delete(context.viewer, sandbox_id, path)
