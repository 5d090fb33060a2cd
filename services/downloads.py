"""One file on its way to a client, in chunks."""

from collections.abc import AsyncGenerator

from services.entities import UserId
from services.errors import ConflictError
from services.executor.interface import Executor
from services.executor.messages import FileInfo
from services.limits import TRANSFER_CHUNK_BYTES
from services.losses import Losses


class Download:
    """A file as it was when the download was opened."""

    def __init__(
        self, executor: Executor, losses: Losses, session_id: str, info: FileInfo, owner: UserId
    ) -> None:
        self.owner = owner
        self._executor = executor
        self._losses = losses
        self._session_id = session_id
        self._info = info

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self._info.name

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return self._info.size_bytes

    @property
    def version(self) -> str:
        """What changes with the bytes."""
        return self._info.version

    async def chunks(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes from `offset` on, in chunks of at most 2 MiB.

        Raises `ConflictError` where the file was changed meanwhile: bytes of two files are
        never mixed.
        """
        end = min(offset + length, self.size_bytes)
        while offset < end:
            wanted = min(TRANSFER_CHUNK_BYTES, end - offset)
            async with self._losses.noticed(self._session_id):
                part = await self._executor.read_file(
                    self._session_id, self._info.path, offset, wanted
                )
            if part.info.version != self._info.version or not part.data:
                raise ConflictError("The file was changed while it was read: read it again.")
            offset += len(part.data)
            yield part.data
