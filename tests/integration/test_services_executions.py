"""Executions: run once whatever is sent again, read to the end whatever dies."""

import asyncio

import pytest

from services import feed
from services.entities import CodeToRun, NewSandbox, PackagesToInstall
from services.errors import (
    ConflictError,
    QuotaExceededError,
    RateLimitedError,
    ServiceUnavailableError,
)
from services.executor.errors import ClusterUnavailableError, QueueFullError
from services.executor.messages import ExecutionStatus, Finished, Gap
from services.read_budget import ReadBudget
from tests.support.pages import page_of
from tests.support.rooms import Room, a_held_execution, events, room_in, session_of, until
from tests.support.scripted_sessions import HOLD


async def test_a_stream_ends_with_the_complete_record(room: Room) -> None:
    """Events in order without holes, and beside the last what `get` answers from now on."""
    sandbox = await room.running()
    updates = await room.stream(sandbox, "hello").all()
    last = updates[-1]
    found = await room.services.executions.get(room.viewer, str(last.execution_id), ReadBudget())

    assert [update.event.seq for update in updates] == [1, 2, 3, 4]
    assert isinstance(last.event, Finished)
    assert last.execution is not None
    assert last.execution.stdout == "hello"
    assert last.execution.code == "hello"
    assert last.execution.last_seq == 4
    assert found == last.execution


async def test_running_code_takes_one_call_to_begin(room: Room) -> None:
    """No question is asked before the code is on its way."""
    sandbox = await room.running()
    room.executor.calls.clear()
    await room.stream(sandbox, "hello").all()

    assert room.executor.calls == {"execute": 1, "record": 1}


async def test_what_has_ended_is_not_counted(room: Room) -> None:
    """Though the recorder has not been there yet; what runs is."""
    sandbox = await room.running()
    await room.stream(sandbox, "hello").all()
    ended = await room.services.sandboxes.usage(room.viewer)
    await a_held_execution(room, sandbox)
    running = await room.services.sandboxes.usage(room.viewer)

    assert (ended.running_executions, running.running_executions) == (0, 1)


async def test_the_mutation_waits_for_the_end(room: Room) -> None:
    """It answers the same record."""
    sandbox = await room.running()
    execution = await room.services.executions.run(
        room.viewer, CodeToRun(str(sandbox.id), "hello"), ReadBudget()
    )

    assert execution.status is ExecutionStatus.SUCCEEDED
    assert execution.stdout == "hello"


async def test_the_same_client_id_runs_once(room: Room) -> None:
    """Whoever comes second gets every event after its place, whatever else it sends."""
    sandbox = await room.running()
    first = await room.stream(sandbox, "hello", client_execution_id="a").all()
    again = await room.stream(
        sandbox, "other", client_execution_id="a", after=2, timeout_seconds=-1
    ).all()
    answer = await room.services.executions.run(
        room.viewer, CodeToRun(str(sandbox.id), "x\ud800", client_execution_id="a"), ReadBudget()
    )

    assert events(again) == events(first)[2:]
    assert answer.id == first[0].execution_id
    assert room.executor.calls["execute"] == 1


async def test_the_same_client_id_at_once_runs_once(room: Room) -> None:
    """All get the same execution."""
    sandbox = await room.running()
    all_ = await asyncio.gather(
        *(room.stream(sandbox, "hello", client_execution_id="a").all() for _ in range(8))
    )

    assert len({updates[0].execution_id for updates in all_}) == 1
    assert len({tuple(event.seq for event in events(updates)) for updates in all_}) == 1
    assert len(session_of(room).executions) == 1


async def test_what_was_lost_between_record_and_call_is_handed_over_by_the_retry(
    room: Room,
) -> None:
    """Under the same id, so that it still runs once."""
    sandbox = await room.running()
    room.executor.faults["execute"].append(ClusterUnavailableError("Ray is away."))
    with pytest.raises(ServiceUnavailableError):
        await room.stream(sandbox, "hello", client_execution_id="a").all()
    updates = await room.stream(sandbox, "hello", client_execution_id="a").all()
    page = await page_of(room.services, room.viewer, sandbox.id)

    assert isinstance(updates[-1].event, Finished)
    assert [each.id for each in page.items] == [updates[0].execution_id]


async def test_a_full_queue_leaves_no_record(room: Room) -> None:
    """The client may try again, with the same id too."""
    sandbox = await room.running()
    room.executor.faults["execute"].append(QueueFullError("The queue is full.", limit=32))
    with pytest.raises(ConflictError) as caught:
        await room.stream(sandbox, "hello", client_execution_id="a").all()

    assert caught.value.extensions == {"status": "RUNNING", "limit": "queue"}

    assert await room.services.pages.counts(room.viewer, [sandbox.id]) == [0]
    assert await room.stream(sandbox, "hello", client_execution_id="a").all()


async def test_an_actor_that_dies_under_a_reader_ends_the_stream(room: Room) -> None:
    """One gap, then the end as LOST with the reason; the sandbox is FAILED."""
    sandbox = await room.running()
    stream = room.stream(sandbox, HOLD)
    begun = [await anext(stream.source), await anext(stream.source)]
    room.executor.kill(session_of(room).session_id)
    rest = await stream.all()
    last = rest[-1]
    row = await room.row(sandbox)
    again = await room.services.executions.get(room.viewer, str(last.execution_id), ReadBudget())

    assert [type(event) for event in events(rest)] == [Gap, Finished]
    assert [update.event.seq for update in begun + rest] == [1, 2, 3, 4]
    assert last.execution is not None
    assert last.execution.status is ExecutionStatus.LOST
    assert last.execution.error is not None
    assert "killed" in last.execution.error.value
    assert again == last.execution
    assert row is not None
    assert row.status == "FAILED"
    assert "killed" in (row.status_reason or "")


async def test_a_mutation_over_a_dead_actor_answers_lost(room: Room) -> None:
    """Nothing hangs, whether it dies before or during the run."""
    sandbox = await room.running()
    task = asyncio.create_task(
        room.services.executions.run(room.viewer, CodeToRun(str(sandbox.id), HOLD), ReadBudget())
    )

    async def submitted() -> bool:
        return bool(session_of(room).executions)

    await until(submitted)
    room.executor.kill(session_of(room).session_id)
    async with asyncio.timeout(10):
        execution = await task
    with pytest.raises(ConflictError) as caught:
        await room.services.executions.run(
            room.viewer, CodeToRun(str(sandbox.id), "x"), ReadBudget()
        )

    assert execution.status is ExecutionStatus.LOST
    assert caught.value.extensions["status"] == "FAILED"


async def test_code_for_an_actor_that_is_gone_is_lost_at_once(room: Room) -> None:
    """The record said RUNNING: now it says FAILED."""
    sandbox = await room.running()
    room.executor.kill(session_of(room).session_id)
    updates = await room.stream(sandbox, "hello").all()

    assert [type(event) for event in events(updates)] == [Gap, Finished]
    assert updates[-1].execution is not None
    assert updates[-1].execution.status is ExecutionStatus.LOST


async def test_a_stop_ends_what_runs_for_its_readers(room: Room) -> None:
    """As LOST, and the reader gets the end."""
    sandbox = await room.running()
    stream = room.stream(sandbox, HOLD)
    first = await anext(stream.source)
    reading = asyncio.create_task(stream.all())
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    rest = await reading
    execution = await room.services.executions.get(
        room.viewer, str(first.execution_id), ReadBudget()
    )

    assert isinstance(rest[-1].event, Finished)
    assert execution is not None
    assert execution.status is ExecutionStatus.LOST


async def test_a_deletion_ends_what_runs_for_its_readers(room: Room) -> None:
    """Nobody can read the record any more, but nobody hangs."""
    sandbox = await room.running()
    stream = room.stream(sandbox, HOLD)
    await anext(stream.source)
    reading = asyncio.create_task(stream.all())
    await room.services.sandboxes.delete(room.viewer, str(sandbox.id))
    last = (await reading)[-1]

    assert isinstance(last.event, Finished)
    assert last.event.status is ExecutionStatus.LOST
    assert last.execution is None


async def test_a_follower_gets_what_comes_after_its_place(room: Room) -> None:
    """While the execution runs, from another process."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    async with room_in(room.database, room.executor) as other:
        follow = other.services.executions.follow(room.viewer, name, 1)
        second = await anext(follow)
        execution = session_of(room).executions[name]
        session_of(room).finish(execution, ExecutionStatus.FAILED)
        rest = [update async for update in follow]

    assert second.event.seq == 2
    assert [update.event.seq for update in rest] == [3]


async def test_a_session_that_cannot_be_reached_for_a_while_is_read_on(room: Room) -> None:
    """The reader hears nothing meanwhile, and everything afterwards."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    room.executor.faults["read"] += [ClusterUnavailableError("Ray is away.")] * 2
    follow = room.services.executions.follow(room.viewer, name, 1)
    second = await anext(follow)
    session_of(room).finish(session_of(room).executions[name], ExecutionStatus.FAILED)
    rest = [update async for update in follow]

    assert not room.executor.faults["read"]
    assert [update.event.seq for update in (second, *rest)] == [2, 3]


async def test_a_session_that_is_not_reached_again_ends_the_reading(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error after which reading may go on."""
    monkeypatch.setattr(feed, "SILENCE_SECONDS", 0.0)
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    room.executor.faults["read"].append(ClusterUnavailableError("Ray is away."))
    with pytest.raises(ServiceUnavailableError):
        await anext(room.services.executions.follow(room.viewer, name, 1))
    again = await anext(room.services.executions.follow(room.viewer, name, 1))

    assert again.event.seq == 2


async def test_a_reader_that_goes_says_so(room: Room) -> None:
    """So that the producer does not wait for it; the execution goes on."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)

    async def left() -> bool:
        return room.executor.calls["leave"] == 1

    await until(left)
    execution = await room.services.executions.get(room.viewer, name, ReadBudget())
    assert execution is not None
    assert execution.status is ExecutionStatus.RUNNING


async def test_an_interrupt_ends_it_and_is_no_error_afterwards(room: Room) -> None:
    """The record stays as it is the second time."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    interrupted = await room.services.executions.interrupt(room.viewer, name, ReadBudget())
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    again = await room.services.executions.interrupt(room.viewer, name, ReadBudget())

    assert interrupted.status is ExecutionStatus.INTERRUPTED
    assert again.status is ExecutionStatus.INTERRUPTED


async def test_input_for_another_question_conflicts(room: Room) -> None:
    """With the execution's status."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    provide = room.services.executions.provide_input
    await provide(room.viewer, name, 3, "x", ReadBudget())
    with pytest.raises(ConflictError) as open_:
        await provide(room.viewer, name, 4, "x", ReadBudget())
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    with pytest.raises(ConflictError) as ended:
        await provide(room.viewer, name, 3, "x", ReadBudget())

    assert open_.value.extensions["status"] == "RUNNING"
    assert ended.value.extensions["status"] == "LOST"


async def test_at_most_so_many_executions_at_once(room: Room) -> None:
    """However many come at once; what has ended makes room though nobody has recorded it."""
    sandbox = await room.running()
    outcomes = await asyncio.gather(
        *(a_held_execution(room, sandbox) for _ in range(6)), return_exceptions=True
    )
    refused = [each for each in outcomes if isinstance(each, QuotaExceededError)]
    session = session_of(room)
    session.finish(next(iter(session.unended())), ExecutionStatus.SUCCEEDED)

    assert len(refused) == 3
    assert refused[0].extensions["limit"] == "maxConcurrentExecutions"
    assert await a_held_execution(room, sandbox)
    with pytest.raises(QuotaExceededError):
        await a_held_execution(room, sandbox)


async def test_installations_have_a_rate(room: Room) -> None:
    """One that is known already is no new one, and what is refused leaves no record."""
    sandbox = await room.running()

    async def install(client: str) -> object:
        wanted = PackagesToInstall(str(sandbox.id), ["six"], client_execution_id=client)
        return await room.services.packages.install(room.viewer, wanted, ReadBudget())

    for client in "abca":
        await install(client)
    with pytest.raises(RateLimitedError) as caught:
        await install("d")

    assert caught.value.extensions["retryAfterSeconds"]
    assert await room.services.pages.counts(room.viewer, [sandbox.id]) == [3]
    assert await room.stream(sandbox, "code is not held up").all()


async def test_code_needs_a_running_sandbox(room: Room) -> None:
    """CONFLICT with its status, and no record."""
    sandbox = await room.services.sandboxes.create(room.viewer, NewSandbox())
    with pytest.raises(ConflictError) as caught:
        await room.stream(sandbox, "hello").all()

    assert caught.value.extensions["status"] == "STOPPED"
    assert await room.services.pages.counts(room.viewer, [sandbox.id]) == [0]
