"""Files of a workspace."""

# mypy: disable-error-code="untyped-decorator"
# (Strawberry types its decorators as Any where they take arguments.)

from datetime import datetime
from typing import Self

import strawberry

from resolvers import files as resolve
from resolvers import sandboxes as resolve_sandboxes
from schema.answer_budget import answer_budget
from schema.enums import FileKind
from schema.info import Info
from schema.scalars import Base64
from services import entities


@strawberry.type
class FileEntry:
    """The contract's `FileEntry`."""

    name: str
    path: str
    kind: FileKind
    size_bytes: float
    modified_at: datetime

    @classmethod
    def of(cls, entry: entities.FileEntry) -> Self:
        """Show one entry of a folder."""
        return cls(
            name=entry.name,
            path=entry.path,
            kind=FileKind(entry.kind),
            size_bytes=entry.size_bytes,
            modified_at=entry.modified_at,
        )


@strawberry.type
class File:
    """The contract's `File`."""

    sandbox_id: strawberry.Private[entities.SandboxId]
    path: str
    size_bytes: float
    modified_at: datetime

    @classmethod
    def of(cls, sandbox_id: entities.SandboxId, entry: entities.FileEntry) -> Self:
        """Show one file of a sandbox."""
        return cls(
            sandbox_id=sandbox_id,
            path=entry.path,
            size_bytes=entry.size_bytes,
            modified_at=entry.modified_at,
        )

    @strawberry.field(
        description="Null where the file is over the inline limit: use `downloadUrl`."
    )
    async def content(self, info: Info) -> Base64 | None:
        """Read the bytes."""
        # Before its turn comes: those of many files are loaded at once.
        sandbox = await resolve_sandboxes.load(self.sandbox_id)
        async with answer_budget.get().read():
            data = await resolve.content(info.context, sandbox, self.path)
        return None if data is None else Base64(data)

    @strawberry.field(
        description="A signed address that serves the bytes without a token until it expires."
    )
    async def download_url(self, info: Info, expires_in_seconds: int = 300) -> str:
        """Sign an address."""
        sandbox = await resolve_sandboxes.load(self.sandbox_id)
        return await resolve.download_url(info.context, sandbox, self.path, expires_in_seconds)
