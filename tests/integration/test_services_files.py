"""Files of a sandbox as its owner writes and reads them."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest

from services.errors import (
    BadUserInputError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
)
from services.limits import INLINE_CONTENT_BYTES, MAX_UPLOAD_BYTES, TRANSFER_CHUNK_BYTES
from tests.support.rooms import Room, room_in


async def test_files_come_back_as_they_were_written(room: Room) -> None:
    """Inline up to a mebibyte."""
    sandbox = await room.running()
    files = room.services.files
    content = bytes(range(256))
    entry = await files.upload(room.viewer, str(sandbox.id), "/workspace/a.bin", content)
    await files.upload(room.viewer, str(sandbox.id), "b.bin", b"x" * (INLINE_CONTENT_BYTES + 1))

    assert (entry.path, entry.size_bytes) == ("a.bin", 256)
    assert await files.content(room.viewer, sandbox, "a.bin") == content
    assert await files.content(room.viewer, sandbox, "b.bin") is None
    assert await files.get(room.viewer, sandbox, "c.bin") is None
    names = [each.name for each in await files.list(room.viewer, sandbox, ".", 1, "a.bin")]
    assert names == ["b.bin"]
    assert await files.delete(room.viewer, str(sandbox.id), "./a.bin") == "a.bin"
    with pytest.raises(NotFoundError):
        await files.delete(room.viewer, str(sandbox.id), "a.bin")


async def test_files_are_the_owners_while_the_sandbox_runs(room: Room) -> None:
    """CONFLICT with the status otherwise, and nothing at all for others."""
    running, stopped = await room.running(), await room.stopped()
    files = room.services.files
    for attempt in (
        files.list(room.viewer, stopped, ".", 10, None),
        files.get(room.viewer, stopped, "a"),
        files.content(room.viewer, stopped, "a"),
        files.upload(room.viewer, str(stopped.id), "a", b""),
        files.delete(room.viewer, str(stopped.id), "a"),
        files.upload_address(room.viewer, str(stopped.id), "a", 60),
    ):
        with pytest.raises(ConflictError) as caught:
            await attempt
        assert caught.value.extensions["status"] == "STOPPED"
    async with room_in(room.database, room.executor) as other:
        for attempt in (
            other.services.files.list(other.viewer, running, ".", 10, None),
            other.services.files.upload(other.viewer, str(running.id), "a", b""),
            other.services.files.download_url(other.viewer, running, "a", 60),
        ):
            with pytest.raises(NotFoundError):
                await attempt


async def test_bad_paths_and_sizes_reach_no_session(room: Room) -> None:
    """They are refused as text."""
    sandbox = await room.running()
    files = room.services.files
    with pytest.raises(BadUserInputError, match="/workspace"):
        await files.upload(room.viewer, str(sandbox.id), "/srv/data.csv", b"")
    with pytest.raises(PayloadTooLargeError):
        await files.upload(room.viewer, str(sandbox.id), "a", bytes(MAX_UPLOAD_BYTES + 1))
    for seconds in (0, 3601):
        with pytest.raises(BadUserInputError) as caught:
            await files.upload_address(room.viewer, str(sandbox.id), "a", seconds)
        assert caught.value.extensions["field"] == "expiresInSeconds"

    assert not room.executor.calls["write_file"]


async def pieces(content: bytes, size: int) -> AsyncGenerator[bytes, None]:
    """Yield content as a client sends it."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_a_signed_upload_arrives_whole(room: Room) -> None:
    """In pieces of any size, and a signed download brings it back, from any place on."""
    sandbox = await room.running()
    files = room.services.files
    content = bytes(range(256)) * (3 * TRANSFER_CHUNK_BYTES // 256) + b"end"
    address = await files.upload_address(room.viewer, str(sandbox.id), "big", 60)
    signature = address.url.rpartition("/")[2]
    entry = await files.receive_upload(signature, len(content), pieces(content, 65_537))
    url = await files.download_url(room.viewer, sandbox, "big", 60)
    download = await files.open_download(url.rpartition("/")[2])
    whole = [chunk async for chunk in download.chunks(0, download.size_bytes)]
    part = [chunk async for chunk in download.chunks(len(content) - 5, 100)]

    assert entry.size_bytes == len(content) == download.size_bytes
    assert b"".join(whole) == content
    assert max(len(chunk) for chunk in whole) <= TRANSFER_CHUNK_BYTES
    assert b"".join(part) == content[-5:]
    assert address.expires_at > datetime.now(UTC)


async def test_an_upload_over_its_size_leaves_nothing(room: Room) -> None:
    """Whether it was announced or only noticed; nor does one that was cut short."""
    sandbox = await room.running()
    files = room.services.files
    address = await files.upload_address(room.viewer, str(sandbox.id), "big", 60)
    signature = address.url.rpartition("/")[2]
    with pytest.raises(PayloadTooLargeError):
        await files.receive_upload(signature, address.max_bytes + 1, pieces(b"", 1))
    with pytest.raises(ConnectionError):
        await files.receive_upload(signature, None, _cut())
    [session] = room.executor.sessions.values()

    assert not session.files
    assert not session.staged


async def _cut() -> AsyncGenerator[bytes, None]:
    yield b"x"
    raise ConnectionError("The client went away.")


async def test_a_file_that_is_replaced_cuts_its_download(room: Room) -> None:
    """Bytes of two files are never mixed."""
    sandbox = await room.running()
    files = room.services.files
    await files.upload(room.viewer, str(sandbox.id), "a", b"1" * (TRANSFER_CHUNK_BYTES + 1))
    url = await files.download_url(room.viewer, sandbox, "a", 60)
    download = await files.open_download(url.rpartition("/")[2])
    chunks = download.chunks(0, download.size_bytes)
    await anext(chunks)
    await files.upload(room.viewer, str(sandbox.id), "a", b"2" * (TRANSFER_CHUNK_BYTES + 1))

    with pytest.raises(ConflictError):
        await anext(chunks)


async def test_a_signed_address_ends_with_its_sandbox(room: Room) -> None:
    """And is good in one direction."""
    sandbox = await room.running()
    files = room.services.files
    await files.upload(room.viewer, str(sandbox.id), "a", b"1")
    signature = (await files.download_url(room.viewer, sandbox, "a", 60)).rpartition("/")[2]
    with pytest.raises(ForbiddenError):
        await files.receive_upload(signature, None, pieces(b"", 1))
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    with pytest.raises(ConflictError):
        await files.open_download(signature)
    await room.services.sandboxes.delete(room.viewer, str(sandbox.id))
    with pytest.raises(NotFoundError):
        await files.open_download(signature)
