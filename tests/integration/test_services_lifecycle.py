"""The life of a sandbox when requests race for it, and when something fails on the way."""

import asyncio

import pytest

from services.entities import NewSandbox, Sandbox, SandboxStatus
from services.errors import (
    BadUserInputError,
    CapacityExhaustedError,
    ConflictError,
    NotFoundError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from services.executor.errors import (
    ClusterUnavailableError,
    NoCapacityError,
    SandboxStartError,
)
from tests.support.rooms import Room, room_in, until
from tests.support.scripted_sessions import ScriptedSession


async def status_of(room: Room, sandbox: Sandbox) -> str | None:
    """Return what the record says; None once it is gone."""
    row = await room.row(sandbox)
    return None if row is None else row.status


async def is_status(room: Room, sandbox: Sandbox, status: SandboxStatus) -> None:
    """Wait until the record says so."""

    async def holds() -> bool:
        return await status_of(room, sandbox) == status

    await until(holds)


async def a_start_held_back(room: Room) -> tuple[Sandbox, asyncio.Event, asyncio.Task[Sandbox]]:
    """Return a sandbox whose start is under way until the event is set."""
    sandbox = await room.services.sandboxes.create(room.viewer, NewSandbox())
    gate = room.executor.gates["start"] = asyncio.Event()
    task = asyncio.create_task(room.services.sandboxes.start(room.viewer, str(sandbox.id)))
    await is_status(room, sandbox, SandboxStatus.STARTING)
    return sandbox, gate, task


async def test_a_sandbox_is_created_stopped_and_started_on_demand(room: Room) -> None:
    """Its defaults are the operator's, and it expires once it runs."""
    sandbox = await room.services.sandboxes.create(
        room.viewer, NewSandbox(name="mine", metadata={"a": "b"}, environment=[("TOKEN", "s3")])
    )
    running = await room.services.sandboxes.start(room.viewer, str(sandbox.id))

    assert sandbox.status is SandboxStatus.STOPPED
    assert sandbox.expires_at is None
    assert sandbox.environment_variable_names == ("TOKEN",)
    assert running.status is SandboxStatus.RUNNING
    assert running.expires_at is not None
    assert running.started_at is not None
    assert (running.expires_at - running.started_at).total_seconds() == 3600
    assert room.executor.specs[0].environment == {"TOKEN": "s3"}
    assert room.executor.specs[0].session_id.startswith("0123abcd-")


async def test_two_starts_make_one_container(room: Room) -> None:
    """Both return RUNNING."""
    sandbox, gate, first = await a_start_held_back(room)
    second = asyncio.create_task(room.services.sandboxes.start(room.viewer, str(sandbox.id)))
    await asyncio.sleep(0.05)
    gate.set()
    statuses = {(await first).status, (await second).status}

    assert statuses == {SandboxStatus.RUNNING}
    assert len(room.executor.specs) == 1


async def test_many_requests_at_once_leave_one_truth(room: Room) -> None:
    """Starts and stops of two processes, all mixed: the record and the cluster agree."""
    sandbox = await room.services.sandboxes.create(room.viewer, NewSandbox())
    async with room_in(room.database, room.executor) as other:
        calls = [
            getattr(process.services.sandboxes, verb)(room.viewer, str(sandbox.id))
            for verb in ("start", "stop", "start", "start", "stop")
            for process in (room, other)
        ]
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
    faults = [each for each in outcomes if isinstance(each, BaseException)]
    row = await room.row(sandbox)

    assert all(isinstance(fault, ConflictError) for fault in faults)
    assert row is not None
    assert row.operation_id is None
    assert (row.status == "RUNNING") == bool(room.executor.sessions)


async def test_a_start_waits_for_the_stop_before_it(room: Room) -> None:
    """And starts then."""
    sandbox = await room.running()
    gate = room.executor.gates["stop"] = asyncio.Event()
    stop = asyncio.create_task(room.services.sandboxes.stop(room.viewer, str(sandbox.id)))
    await is_status(room, sandbox, SandboxStatus.STOPPING)
    start = asyncio.create_task(room.services.sandboxes.start(room.viewer, str(sandbox.id)))
    await asyncio.sleep(0.05)
    gate.set()

    assert (await stop).status is SandboxStatus.STOPPED
    assert (await start).status is SandboxStatus.RUNNING
    assert len(room.executor.specs) == 2


async def test_a_stop_during_a_start_leaves_nothing_running(room: Room) -> None:
    """The starter that comes too late takes back what it has made."""
    sandbox, gate, start = await a_start_held_back(room)
    stopped = await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    gate.set()

    assert stopped.status is SandboxStatus.STOPPED
    with pytest.raises(ConflictError) as caught:
        await start
    assert caught.value.extensions["status"] == "STOPPED"
    assert not room.executor.sessions
    assert await status_of(room, sandbox) == "STOPPED"


async def test_a_delete_during_a_start_leaves_nothing(room: Room) -> None:
    """No container, no folder, no row."""
    sandbox, gate, start = await a_start_held_back(room)
    await room.services.sandboxes.delete(room.viewer, str(sandbox.id))
    gate.set()

    with pytest.raises(NotFoundError):
        await start
    assert not room.executor.sessions
    assert not room.executor.folders
    assert await status_of(room, sandbox) is None


async def test_two_deletes_both_succeed(room: Room) -> None:
    """And a third finds nothing."""
    sandbox = await room.running()
    ids = await asyncio.gather(
        *(room.services.sandboxes.delete(room.viewer, str(sandbox.id)) for _ in range(2)),
        return_exceptions=True,
    )

    assert sandbox.id in ids
    assert all(each == sandbox.id or isinstance(each, NotFoundError) for each in ids)
    with pytest.raises(NotFoundError):
        await room.services.sandboxes.delete(room.viewer, str(sandbox.id))
    assert not room.executor.folders


async def test_a_delete_that_fails_goes_on_when_it_is_asked_again(room: Room) -> None:
    """The row stays until the session is gone for good."""
    sandbox = await room.running()
    room.executor.faults["destroy"].append(ClusterUnavailableError("Ray is away."))
    with pytest.raises(ServiceUnavailableError):
        await room.services.sandboxes.delete(room.viewer, str(sandbox.id))

    assert await status_of(room, sandbox) == "STOPPING"
    await room.services.sandboxes.delete(room.viewer, str(sandbox.id))
    assert await status_of(room, sandbox) is None
    assert not room.executor.folders


async def test_stop_is_idempotent_and_keeps_the_folder(room: Room) -> None:
    """Nothing is asked of the cluster the second time."""
    sandbox = await room.running()
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    again = await room.services.sandboxes.stop(room.viewer, str(sandbox.id))

    assert again.status is SandboxStatus.STOPPED
    assert room.executor.calls["stop"] == 1
    assert len(room.executor.folders) == 1


async def test_a_stop_that_fails_says_so_on_the_record(room: Room) -> None:
    """FAILED with the reason, and it can be started again."""
    sandbox = await room.running()
    room.executor.faults["stop"].append(ClusterUnavailableError("Ray is away."))
    with pytest.raises(ServiceUnavailableError):
        await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    row = await room.row(sandbox)

    assert row is not None
    assert (row.status, row.status_reason) == ("FAILED", "Ray is away.")
    assert (await room.services.sandboxes.start(room.viewer, str(sandbox.id))).status == "RUNNING"


async def test_restart_needs_a_running_sandbox(room: Room) -> None:
    """CONFLICT with the status otherwise."""
    sandbox = await room.services.sandboxes.create(room.viewer, NewSandbox())
    with pytest.raises(ConflictError) as caught:
        await room.services.sandboxes.restart(room.viewer, str(sandbox.id))
    await room.services.sandboxes.start(room.viewer, str(sandbox.id))
    restarted = await room.services.sandboxes.restart(room.viewer, str(sandbox.id))

    assert caught.value.extensions["status"] == "STOPPED"
    assert restarted.status is SandboxStatus.RUNNING
    assert room.executor.calls["restart"] == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (SandboxStartError("There is no such image."), ServiceUnavailableError),
        (NoCapacityError("The cluster is full."), CapacityExhaustedError),
    ],
)
async def test_a_create_that_cannot_start_keeps_the_row(
    room: Room, fault: Exception, error: type[ServiceUnavailableError]
) -> None:
    """FAILED with the reason; the error has its id, and starting it later works."""
    room.executor.faults["start"].append(fault)
    with pytest.raises(error) as caught:
        await room.running()
    sandbox_id = str(caught.value.extensions["sandboxId"])
    failed = await room.services.sandboxes.get(room.viewer, sandbox_id)

    assert failed is not None
    assert failed.status is SandboxStatus.FAILED
    assert failed.status_reason == str(fault)
    started = await room.services.sandboxes.start(room.viewer, sandbox_id)
    assert started.status is SandboxStatus.RUNNING
    assert started.status_reason is None


async def test_a_fault_of_ours_in_a_start_is_on_the_record_without_details(room: Room) -> None:
    """The row does not stay STARTING."""
    room.executor.faults["start"].append(RuntimeError("secret detail"))
    sandbox = await room.services.sandboxes.create(room.viewer, NewSandbox())
    with pytest.raises(RuntimeError):
        await room.services.sandboxes.start(room.viewer, str(sandbox.id))
    row = await room.row(sandbox)

    assert row is not None
    assert row.status == "FAILED"
    assert "secret" not in (row.status_reason or "")


async def test_the_same_key_makes_one_sandbox(room: Room) -> None:
    """One after the other, and many at once."""
    new = NewSandbox(name="one", idempotency_key="key")
    made = await asyncio.gather(
        *(room.services.sandboxes.create(room.viewer, new) for _ in range(6))
    )
    other = await room.services.sandboxes.create(room.viewer, NewSandbox(idempotency_key="key"))

    assert {each.id for each in made} == {other.id}
    assert other.name == "one"


async def test_the_same_key_with_a_start_returns_it_running(room: Room) -> None:
    """Whichever came first makes the one container."""
    new = NewSandbox(idempotency_key="key", start=True)
    made = await asyncio.gather(
        *(room.services.sandboxes.create(room.viewer, new) for _ in range(4))
    )

    assert {each.status for each in made} == {SandboxStatus.RUNNING}
    assert len(room.executor.specs) == 1


async def test_a_client_that_leaves_during_a_start_leaves_no_half_state(room: Room) -> None:
    """The start goes on, and its end is recorded."""
    sandbox, gate, start = await a_start_held_back(room)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    gate.set()

    await is_status(room, sandbox, SandboxStatus.RUNNING)


async def test_a_start_whose_process_died_is_resolved_by_what_is_there(room: Room) -> None:
    """Where the session lives, the next start finds it RUNNING and makes no other."""
    sandbox, gate, start = await a_start_held_back(room)
    row = await room.row(sandbox)
    assert row is not None
    session_id = row.session_id or ""
    room.executor.sessions[session_id] = ScriptedSession(session_id)
    await room.age_operation(sandbox)
    del room.executor.gates["start"]
    started = await room.services.sandboxes.start(room.viewer, str(sandbox.id))
    gate.set()

    assert started.status is SandboxStatus.RUNNING
    assert (await start).status is SandboxStatus.RUNNING
    assert not room.executor.specs


async def test_at_most_so_many_sandboxes_exist(room: Room) -> None:
    """However many are asked for at once."""
    outcomes = await asyncio.gather(
        *(room.services.sandboxes.create(room.viewer, NewSandbox()) for _ in range(7)),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if isinstance(each, QuotaExceededError)]

    assert len(refused) == 3
    assert refused[0].extensions["limit"] == "maxSandboxes"
    assert (await room.services.sandboxes.usage(room.viewer)).sandboxes == 4


async def test_at_most_so_many_sandboxes_run(room: Room) -> None:
    """However many are started at once; those refused stay as they are."""
    sandboxes = [await room.services.sandboxes.create(room.viewer, NewSandbox()) for _ in range(4)]
    outcomes = await asyncio.gather(
        *(room.services.sandboxes.start(room.viewer, str(each.id)) for each in sandboxes),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if isinstance(each, QuotaExceededError)]

    assert len(refused) == 2
    assert refused[0].extensions["limit"] == "maxRunningSandboxes"
    assert len(room.executor.sessions) == 2
    assert sorted([str(await status_of(room, each)) for each in sandboxes]) == [
        "RUNNING",
        "RUNNING",
        "STOPPED",
        "STOPPED",
    ]


async def test_a_create_over_the_running_limit_keeps_the_row(room: Room) -> None:
    """As with every start that fails."""
    for _ in range(2):
        await room.running()
    with pytest.raises(QuotaExceededError) as caught:
        await room.running()
    failed = await room.services.sandboxes.get(
        room.viewer, str(caught.value.extensions["sandboxId"])
    )

    assert caught.value.extensions["limit"] == "maxRunningSandboxes"
    assert failed is not None
    assert failed.status is SandboxStatus.FAILED


async def test_what_is_not_the_viewers_is_not_there(room: Room) -> None:
    """In the same words as what never was."""
    mine = await room.running()
    async with room_in(room.database, room.executor) as other:
        service, viewer = other.services.sandboxes, other.viewer
        messages = set()
        for sandbox_id in (str(mine.id), "00000000-0000-4000-8000-000000000000"):
            assert await service.get(viewer, sandbox_id) is None
            for verb in (service.start, service.stop, service.restart, service.delete):
                with pytest.raises(NotFoundError) as caught:
                    await verb(viewer, sandbox_id)
                messages.add(caught.value.message)

    assert len(messages) == 1
    assert await status_of(room, mine) == "RUNNING"


async def test_an_id_that_is_no_uuid_is_bad_input(room: Room) -> None:
    """By the field that the schema has."""
    with pytest.raises(BadUserInputError) as query:
        await room.services.sandboxes.get(room.viewer, "x")
    with pytest.raises(BadUserInputError) as mutation:
        await room.services.sandboxes.start(room.viewer, "x")

    assert query.value.extensions["field"] == "id"
    assert mutation.value.extensions["field"] == "sandboxId"
