"""Sandboxes as their owner lists and changes them."""

import pytest

from services.entities import (
    SandboxChanges,
    SandboxFilter,
    SandboxStatus,
)
from services.errors import (
    BadUserInputError,
    NotFoundError,
    ServiceUnavailableError,
)
from services.executor.errors import ClusterUnavailableError
from tests.support.rooms import Room, make_older


async def listed(room: Room, **conditions: object) -> list[str | None]:
    """Return the names of those that a filter lets through."""
    wanted = SandboxFilter(**conditions)  # type: ignore[arg-type] # likewise
    page = await room.services.sandboxes.page(room.viewer, 100, None, wanted)
    assert len(page.items) == await room.services.sandboxes.count(room.viewer, wanted)
    return [sandbox.name for sandbox in page.items]


async def test_filters_choose(room: Room) -> None:
    """By status, by metadata, by a part of the name; wildcards are letters like others."""
    await room.stopped(name="one 100%", metadata={"team": "a", "env": "x"})
    await room.stopped(name="two", metadata={"team": "a"})
    await room.stopped(name="Three", start=True)

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
        await room.stopped(name=name)
    first = await room.services.sandboxes.page(room.viewer, 2, None, SandboxFilter())
    second = await room.services.sandboxes.page(room.viewer, 2, first.cursors[-1], SandboxFilter())

    assert [each.name for each in [*first.items, *second.items]] == names[::-1]
    assert first.has_next_page
    assert not second.has_next_page
    with pytest.raises(BadUserInputError):
        await room.services.sandboxes.page(room.viewer, 101, None, SandboxFilter())


async def test_an_update_changes_what_is_given_alone(room: Room) -> None:
    """Null clears a name and metadata, and brings defaults back."""
    sandbox = await room.stopped(name="old", metadata={"a": "b"}, idle_timeout_seconds=60)
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
    stopped, running = await room.stopped(), await room.running()
    stats = await room.services.sandboxes.stats(room.viewer, running)

    assert await room.services.sandboxes.stats(room.viewer, stopped) is None
    assert stats is not None
    assert stats.session_id == running.session_id
    room.executor.faults["stats"].append(ClusterUnavailableError("Ray is away."))
    with pytest.raises(ServiceUnavailableError):
        await room.services.sandboxes.stats(room.viewer, running)
