"""Sandboxes as their owner watches them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from uuid import UUID

import pytest

from db.engine import Database
from db.repositories.sandboxes import SandboxRepository
from services.changes import LOOKS_AT_ONCE
from services.entities import (
    Sandbox,
    SandboxChange,
    SandboxChanges,
    SandboxId,
)
from services.errors import (
    NotFoundError,
    ServiceUnavailableError,
)
from services.nudges import POLL_SECONDS, Nudges
from tests.support.postgres import PostgresServer
from tests.support.rooms import Room, room_in, until


@pytest.fixture(scope="module")
async def database(own_server: PostgresServer) -> AsyncIterator[Database]:
    """One database, migrated."""
    async with own_server.database() as made, Database(made.url) as opened:
        yield opened


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
    sandbox = await room.stopped(name="mine")
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
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database passes it on; nothing waits for a look that nobody asked for."""
    async with (
        own_server.database() as made,
        Database(made.url) as database,
        room_in(database, direct_url=made.url) as room,
        room_in(database, room.executor) as other,
        aclosing(room.services.sandboxes.changes(room.viewer, None)) as changes,
    ):
        await room.stopped(name="present")
        await anext(changes)
        nudges = room.services.sandboxes._nudges
        await until(partial(quiet, nudges))
        monkeypatch.setattr("services.nudges.POLL_SECONDS", 1000.0)
        monkeypatch.setattr("services.nudges.QUIET_POLL_SECONDS", 1000.0)
        other.viewer = room.viewer
        sandbox = await other.stopped(name="made")
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
    sandbox, other = await room.stopped(name="mine"), await room.stopped(name="other")
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
    sandbox = await room.stopped()
    async with room_in(room.database) as other:
        with pytest.raises(NotFoundError):
            await anext(other.services.sandboxes.changes(other.viewer, str(sandbox.id)))


async def test_many_watchers_of_one_user_leave_others_their_connections(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They look one after the other, and each has its answer."""
    sandbox = await room.stopped(name="watched")
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
    room: Room, own_server: PostgresServer
) -> None:
    """Requests fail as unavailable meanwhile, and work again by themselves."""
    sandbox = await room.stopped(name="old")
    changes = room.services.sandboxes.changes(room.viewer, None)
    async with aclosing(changes):
        await anext(changes)
        own_server.halt()
        with pytest.raises(ServiceUnavailableError):
            await room.services.sandboxes.get(room.viewer, str(sandbox.id))
        own_server.restart()
        await room.services.sandboxes.update(
            room.viewer, str(sandbox.id), SandboxChanges(name="new")
        )
        change = await anext(changes)

    assert change.sandbox is not None
    assert change.sandbox.name == "new"
