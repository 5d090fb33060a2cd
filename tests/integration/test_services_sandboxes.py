"""Sandboxes as their owner lists, changes and watches them, and the files in them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import pytest

from db.engine import Database
from db.repositories.sandboxes import SandboxRepository
from services.changes import LOOKS_AT_ONCE
from services.entities import (
    NewSandbox,
    Sandbox,
    SandboxChange,
    SandboxChanges,
    SandboxFilter,
    SandboxId,
    SandboxStatus,
)
from services.errors import (
    BadUserInputError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    ServiceUnavailableError,
)
from services.executor.errors import ClusterUnavailableError
from services.limits import INLINE_CONTENT_BYTES, MAX_UPLOAD_BYTES, TRANSFER_CHUNK_BYTES
from services.nudges import POLL_SECONDS, Nudges
from tests.support.postgres import PostgresServer, embedded_server
from tests.support.rooms import Room, make_older, room_in, until


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[PostgresServer]:
    """The product's own server."""
    with embedded_server() as started:
        yield started


@pytest.fixture(scope="module")
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    """One database, migrated."""
    async with server.database() as made, Database(made.url) as opened:
        yield opened


@pytest.fixture
async def room(database: Database) -> AsyncIterator[Room]:
    """One process, with a user of its own."""
    async with room_in(database) as made:
        yield made


async def a_sandbox(room: Room, **values: object) -> Sandbox:
    """Return a new sandbox."""
    new = NewSandbox(**values)  # type: ignore[arg-type] # what the test is about
    return await room.services.sandboxes.create(room.viewer, new)


async def listed(room: Room, **conditions: object) -> list[str | None]:
    """Return the names of those that a filter lets through."""
    wanted = SandboxFilter(**conditions)  # type: ignore[arg-type] # likewise
    page = await room.services.sandboxes.page(room.viewer, 100, None, wanted)
    assert len(page.items) == await room.services.sandboxes.count(room.viewer, wanted)
    return [sandbox.name for sandbox in page.items]


async def test_filters_choose(room: Room) -> None:
    """By status, by metadata, by a part of the name; wildcards are letters like others."""
    await a_sandbox(room, name="one 100%", metadata={"team": "a", "env": "x"})
    await a_sandbox(room, name="two", metadata={"team": "a"})
    await a_sandbox(room, name="Three", start=True)

    assert await listed(room) == ["Three", "two", "one 100%"]
    assert await listed(room, statuses=[SandboxStatus.RUNNING]) == ["Three"]
    assert await listed(room, statuses=[]) == []
    assert await listed(room, metadata={"team": "a"}) == ["two", "one 100%"]
    assert await listed(room, metadata={"team": "a", "env": "x"}) == ["one 100%"]
    assert await listed(room, name_contains="th") == ["Three"]
    assert await listed(room, name_contains="%") == ["one 100%"]
    assert await listed(room, name_contains="_") == []


async def test_pages_are_complete_and_without_repetition(room: Room) -> None:
    """From the newest to the oldest."""
    names = [str(number) for number in range(3)]
    for name in names:
        await a_sandbox(room, name=name)
    first = await room.services.sandboxes.page(room.viewer, 2, None, SandboxFilter())
    second = await room.services.sandboxes.page(room.viewer, 2, first.cursors[-1], SandboxFilter())

    assert [each.name for each in [*first.items, *second.items]] == names[::-1]
    assert first.has_next_page
    assert not second.has_next_page
    with pytest.raises(BadUserInputError):
        await room.services.sandboxes.page(room.viewer, 101, None, SandboxFilter())


async def test_an_update_changes_what_is_given_alone(room: Room) -> None:
    """Null clears a name and metadata, and brings defaults back."""
    sandbox = await a_sandbox(room, name="old", metadata={"a": "b"}, idle_timeout_seconds=60)
    change = room.services.sandboxes.update
    renamed = await change(room.viewer, str(sandbox.id), SandboxChanges(name="new"))
    cleared = await change(
        room.viewer,
        str(sandbox.id),
        SandboxChanges(name=None, metadata=None, idle_timeout_seconds=None),
    )

    assert (renamed.name, renamed.metadata) == ("new", {"a": "b"})
    assert renamed.limits.idle_timeout_seconds == 60
    assert renamed.updated_at > sandbox.updated_at
    assert (cleared.name, cleared.metadata) == (None, {})
    assert cleared.limits.idle_timeout_seconds == 3600
    with pytest.raises(NotFoundError):
        await change(room.viewer, "00000000-0000-4000-8000-000000000000", SandboxChanges(name=""))


async def test_a_longer_lifetime_keeps_a_sandbox_alive(room: Room) -> None:
    """It counts from the start."""
    sandbox = await room.running(lifetime_seconds=60)
    longer = await room.services.sandboxes.update(
        room.viewer, str(sandbox.id), SandboxChanges(lifetime_seconds=120)
    )

    assert sandbox.expires_at is not None
    assert longer.expires_at is not None
    assert (longer.expires_at - sandbox.expires_at).total_seconds() == 60


async def test_a_lifetime_that_is_over_is_refused(room: Room) -> None:
    """With how old the sandbox is; one that does not run has no age."""
    sandbox = await room.running(lifetime_seconds=90_000)
    await make_older(room, sandbox, 86_500)
    change = room.services.sandboxes.update
    for short in (60.0, 86_500.0, None):
        with pytest.raises(
            BadUserInputError, match=r"has run for 865\d\d s: at least 865"
        ) as caught:
            await change(room.viewer, str(sandbox.id), SandboxChanges(lifetime_seconds=short))
        assert caught.value.extensions == {"field": "lifetimeSeconds"}
    kept = await room.services.sandboxes.get(room.viewer, str(sandbox.id))
    later = await change(room.viewer, str(sandbox.id), SandboxChanges(lifetime_seconds=86_560))
    named = await change(room.viewer, str(sandbox.id), SandboxChanges(name="old"))
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    stopped = await change(room.viewer, str(sandbox.id), SandboxChanges(lifetime_seconds=60))

    assert kept is not None
    assert kept.limits.lifetime_seconds == 90_000
    assert (later.limits.lifetime_seconds, named.name) == (86_560, "old")
    assert stopped.limits.lifetime_seconds == 60


async def test_statistics_are_a_running_sandboxs(room: Room) -> None:
    """None for others; a cluster that is silent is an error."""
    stopped, running = await a_sandbox(room), await room.running()
    stats = await room.services.sandboxes.stats(room.viewer, running)

    assert await room.services.sandboxes.stats(room.viewer, stopped) is None
    assert stats is not None
    assert stats.session_id == running.session_id
    room.executor.faults["stats"].append(ClusterUnavailableError("Ray is away."))
    with pytest.raises(ServiceUnavailableError):
        await room.services.sandboxes.stats(room.viewer, running)


async def statuses(
    changes: AsyncGenerator[SandboxChange, None], last: str
) -> list[tuple[str | None, str | None]]:
    """Return name and status of each change up to one of this status."""
    seen: list[tuple[str | None, str | None]] = []
    async for change in changes:
        sandbox = change.sandbox
        seen.append((None, None) if sandbox is None else (sandbox.name, sandbox.status.value))
        if seen[-1][1] == last:
            return seen
    return seen


async def test_a_watcher_sees_what_is_and_what_changes(room: Room) -> None:
    """From another process too; of quick changes the latest is enough."""
    sandbox = await a_sandbox(room, name="mine")
    async with room_in(room.database, room.executor) as other:
        changes = other.services.sandboxes.changes(room.viewer, None)
        async with aclosing(changes):
            first = await anext(changes)
            await room.services.sandboxes.start(room.viewer, str(sandbox.id))
            seen = await statuses(changes, "RUNNING")
            await room.services.sandboxes.delete(room.viewer, str(sandbox.id))
            while (last := await anext(changes)).sandbox is not None:
                pass

    assert first.sandbox == sandbox
    assert seen[-1] == ("mine", "RUNNING")
    assert last.deleted_sandbox_id == sandbox.id


async def test_a_watcher_hears_of_what_another_process_changes(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database passes it on; nothing waits for a look that nobody asked for."""
    async with (
        server.database() as made,
        Database(made.url) as database,
        room_in(database, direct_url=made.url) as room,
        room_in(database, room.executor) as other,
        aclosing(room.services.sandboxes.changes(room.viewer, None)) as changes,
    ):
        await a_sandbox(room, name="present")
        await anext(changes)
        nudges = room.services.sandboxes._nudges
        await until(partial(quiet, nudges))
        monkeypatch.setattr("services.nudges.POLL_SECONDS", 1000.0)
        monkeypatch.setattr("services.nudges.QUIET_POLL_SECONDS", 1000.0)
        other.viewer = room.viewer
        sandbox = await a_sandbox(other, name="made")
        await named(changes, sandbox)
        await other.services.sandboxes.delete(other.viewer, str(sandbox.id))
        async with asyncio.timeout(20):
            while (change := await anext(changes)).deleted_sandbox_id is None:
                continue

    assert change.deleted_sandbox_id == sandbox.id


async def quiet(nudges: Nudges) -> bool:
    """Whether other processes' changes are heard of."""
    return nudges.poll_seconds > POLL_SECONDS


async def named(changes: AsyncGenerator[SandboxChange, None], wanted: Sandbox) -> None:
    """Read until a change of one sandbox."""
    async with asyncio.timeout(20):
        while (change := await anext(changes)).sandbox is None or change.sandbox.id != wanted.id:
            continue


async def test_watching_one_ends_with_its_deletion(room: Room) -> None:
    """And hears nothing of others."""
    sandbox, other = await a_sandbox(room, name="mine"), await a_sandbox(room, name="other")
    changes = room.services.sandboxes.changes(room.viewer, str(sandbox.id))
    async with aclosing(changes):
        await anext(changes)
        await room.services.sandboxes.start(room.viewer, str(other.id))
        await room.services.sandboxes.delete(room.viewer, str(sandbox.id))
        seen = [change async for change in changes]

    assert seen[-1].deleted_sandbox_id == sandbox.id
    assert {change.sandbox.name for change in seen if change.sandbox} <= {"mine"}


async def test_watching_begins_with_a_sandbox_of_the_viewers(room: Room) -> None:
    """Anybody else's is not there; none at all is no error."""
    sandbox = await a_sandbox(room)
    async with room_in(room.database) as other:
        with pytest.raises(NotFoundError):
            await anext(other.services.sandboxes.changes(other.viewer, str(sandbox.id)))


async def test_many_watchers_of_one_user_leave_others_their_connections(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They look one after the other, and each has its answer."""
    sandbox = await a_sandbox(room, name="watched")
    stamps, looking, most = SandboxRepository.stamps, 0, 0

    async def counted(
        self: SandboxRepository, only: SandboxId | None
    ) -> Sequence[tuple[UUID, datetime]]:
        nonlocal looking, most
        looking += 1
        most = max(most, looking)
        # Long enough for all others to come.
        await asyncio.sleep(0.01)
        try:
            return await stamps(self, only)
        finally:
            looking -= 1

    monkeypatch.setattr(SandboxRepository, "stamps", counted)
    watched = [room.services.sandboxes.changes(room.viewer, None) for _ in range(40)]
    firsts = await asyncio.gather(*(anext(changes) for changes in watched))
    for changes in watched:
        await changes.aclose()

    assert [change.sandbox for change in firsts] == [sandbox] * len(watched)
    assert most <= LOOKS_AT_ONCE


async def test_a_watcher_outlives_an_outage_of_the_database(
    room: Room, server: PostgresServer
) -> None:
    """Requests fail as unavailable meanwhile, and work again by themselves."""
    sandbox = await a_sandbox(room, name="old")
    changes = room.services.sandboxes.changes(room.viewer, None)
    async with aclosing(changes):
        await anext(changes)
        server.halt()
        with pytest.raises(ServiceUnavailableError):
            await room.services.sandboxes.get(room.viewer, str(sandbox.id))
        server.restart()
        await room.services.sandboxes.update(
            room.viewer, str(sandbox.id), SandboxChanges(name="new")
        )
        change = await anext(changes)

    assert change.sandbox is not None
    assert change.sandbox.name == "new"


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
    running, stopped = await room.running(), await a_sandbox(room)
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
