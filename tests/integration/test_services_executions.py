"""Executions: run once whatever is sent again, read to the end whatever dies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from db.engine import Database
from services.entities import CodeToRun, ExecutionUpdate, NewSandbox, PackagesToInstall, Sandbox
from services.errors import (
    BadUserInputError,
    ConflictError,
    NotFoundError,
    PayloadTooLargeError,
    QuotaExceededError,
    RateLimitedError,
    ServiceUnavailableError,
)
from services.executor.errors import ClusterUnavailableError, QueueFullError
from services.executor.messages import Event, ExecutionStatus, Finished, Gap, Output
from services.limits import MIB
from services.read_budget import ReadBudget
from tests.support.postgres import embedded_server
from tests.support.rooms import Room, room_in, until
from tests.support.scripted_sessions import HOLD, ScriptedSession
from tests.support.stub_services import outline


@pytest.fixture(scope="module")
async def database() -> AsyncIterator[Database]:
    """The product's own server, migrated."""
    with embedded_server() as server:
        async with server.database() as made, Database(made.url) as opened:
            yield opened


@pytest.fixture
async def room(database: Database) -> AsyncIterator[Room]:
    """One process, with a user of its own."""
    async with room_in(database) as made:
        yield made


def session_of(room: Room) -> ScriptedSession:
    """Return the one session that there is."""
    [session] = room.executor.sessions.values()
    return session


def events(updates: list[ExecutionUpdate]) -> list[Event]:
    """Return what the updates tell."""
    return [update.event for update in updates]


async def a_held_execution(room: Room, sandbox: Sandbox, client: str | None = None) -> str:
    """Return the id of an execution that runs until it is ended."""
    stream = room.stream(sandbox, HOLD, client_execution_id=client).source
    update = await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined] # a generator
    return str(update.execution_id)


async def test_a_stream_ends_with_the_complete_record(room: Room) -> None:
    """Events in order without holes, and beside the last what `get` answers from now on."""
    sandbox = await room.running()
    updates = await room.stream(sandbox, "hello").all()
    last = updates[-1]
    found = await room.services.executions.get(room.viewer, str(last.execution_id))

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


async def test_the_mutation_waits_for_the_end(room: Room) -> None:
    """It answers the same record."""
    sandbox = await room.running()
    execution = await room.services.executions.run(room.viewer, CodeToRun(str(sandbox.id), "hello"))

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
        room.viewer, CodeToRun(str(sandbox.id), "x\ud800", client_execution_id="a")
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
    page = await room.services.executions.page(room.viewer, sandbox.id, 20, None)

    assert isinstance(updates[-1].event, Finished)
    assert [each.id for each in page.items] == [updates[0].execution_id]


async def test_a_full_queue_leaves_no_record(room: Room) -> None:
    """The client may try again, with the same id too."""
    sandbox = await room.running()
    room.executor.faults["execute"].append(QueueFullError("The queue is full.", limit=32))
    with pytest.raises(ConflictError) as caught:
        await room.stream(sandbox, "hello", client_execution_id="a").all()

    assert caught.value.extensions == {"status": "RUNNING", "limit": "queue"}

    assert await room.services.executions.count(room.viewer, sandbox.id) == 0
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
    again = await room.services.executions.get(room.viewer, str(last.execution_id))

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
        room.services.executions.run(room.viewer, CodeToRun(str(sandbox.id), HOLD))
    )

    async def submitted() -> bool:
        return bool(session_of(room).executions)

    await until(submitted)
    room.executor.kill(session_of(room).session_id)
    async with asyncio.timeout(10):
        execution = await task
    with pytest.raises(ConflictError) as caught:
        await room.services.executions.run(room.viewer, CodeToRun(str(sandbox.id), "x"))

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
    execution = await room.services.executions.get(room.viewer, str(first.execution_id))

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


async def test_what_the_actor_has_forgotten_comes_from_the_record(room: Room) -> None:
    """A gap where output was, and the end; for those who attach by their own id as well."""
    sandbox = await room.running()
    updates = await room.stream(sandbox, "hello", client_execution_id="a").all()
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    name = str(updates[0].execution_id)
    follow = room.services.executions.follow
    from_start = [update async for update in follow(room.viewer, name, 0)]
    from_end = [update async for update in follow(room.viewer, name, 4)]

    attached = await room.stream(sandbox, "x", client_execution_id="a").all()

    assert [type(event) for event in events(from_start)] == [Gap, Finished]
    assert attached == from_start
    assert from_start[0].event.seq == 3
    assert events(from_start)[-1].seq == 4
    assert from_start[-1].execution == updates[-1].execution
    assert from_end == []


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


async def test_a_reader_that_goes_says_so(room: Room) -> None:
    """So that the producer does not wait for it; the execution goes on."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)

    async def left() -> bool:
        return room.executor.calls["leave"] == 1

    await until(left)
    execution = await room.services.executions.get(room.viewer, name)
    assert execution is not None
    assert execution.status is ExecutionStatus.RUNNING


async def test_an_interrupt_ends_it_and_is_no_error_afterwards(room: Room) -> None:
    """The record stays as it is the second time."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    interrupted = await room.services.executions.interrupt(room.viewer, name)
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    again = await room.services.executions.interrupt(room.viewer, name)

    assert interrupted.status is ExecutionStatus.INTERRUPTED
    assert again.status is ExecutionStatus.INTERRUPTED


async def test_input_for_another_question_conflicts(room: Room) -> None:
    """With the execution's status."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    provide = room.services.executions.provide_input
    await provide(room.viewer, name, 3, "x")
    with pytest.raises(ConflictError) as open_:
        await provide(room.viewer, name, 4, "x")
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    with pytest.raises(ConflictError) as ended:
        await provide(room.viewer, name, 3, "x")

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
        return await room.services.packages.install(room.viewer, wanted)

    for client in "abca":
        await install(client)
    with pytest.raises(RateLimitedError) as caught:
        await install("d")

    assert caught.value.extensions["retryAfterSeconds"]
    assert await room.services.executions.count(room.viewer, sandbox.id) == 3
    assert await room.stream(sandbox, "code is not held up").all()


async def test_code_needs_a_running_sandbox(room: Room) -> None:
    """CONFLICT with its status, and no record."""
    sandbox = await room.services.sandboxes.create(room.viewer, NewSandbox())
    with pytest.raises(ConflictError) as caught:
        await room.stream(sandbox, "hello").all()

    assert caught.value.extensions["status"] == "STOPPED"
    assert await room.services.executions.count(room.viewer, sandbox.id) == 0


async def test_anothers_executions_are_not_there(room: Room) -> None:
    """By none of the ways to name one."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox, client="a")
    async with room_in(room.database, room.executor) as other:
        service, viewer = other.services.executions, other.viewer
        assert await service.get(viewer, name) is None
        assert (await service.page(viewer, sandbox.id, 20, None)).items == []
        assert await service.count(viewer, sandbox.id) == 0
        for attempt in (
            service.interrupt(viewer, name),
            service.provide_input(viewer, name, 3, "x"),
            anext(service.follow(viewer, name, 0)),
            service.run(viewer, CodeToRun(str(sandbox.id), "x", client_execution_id="a")),
        ):
            with pytest.raises(NotFoundError):
                await attempt


async def test_pages_go_from_the_newest_to_the_oldest(room: Room) -> None:
    """Cursor by cursor, and back to where a page ended."""
    sandbox = await room.running()
    names = [(await room.stream(sandbox, str(i)).all())[0].execution_id for i in range(3)]
    page = room.services.executions.page
    first = await page(room.viewer, sandbox.id, 2, None)
    second = await page(room.viewer, sandbox.id, 2, first.cursors[-1])

    assert [each.id for each in [*first.items, *second.items]] == names[::-1]
    assert (first.has_next_page, first.has_previous_page) == (True, False)
    assert (second.has_next_page, second.has_previous_page) == (False, True)
    with pytest.raises(BadUserInputError):
        await page(room.viewer, sandbox.id, 0, None)


async def test_a_list_shows_the_record_where_the_cluster_is_silent(room: Room) -> None:
    """A single one is not answered by half."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    room.executor.faults["record"] += [ClusterUnavailableError("Ray is away.")] * 2
    page = await room.services.executions.page(room.viewer, sandbox.id, 20, None)

    assert [each.status for each in page.items] == [ExecutionStatus.QUEUED]
    with pytest.raises(ServiceUnavailableError):
        await room.services.executions.get(room.viewer, name)


def end_with(room: Room, name: str, stdout: str) -> None:
    """End a held execution with this output."""
    session = session_of(room)
    execution = session.executions[name]
    execution.record = replace(execution.record, stdout=stdout)
    session.finish(execution, ExecutionStatus.SUCCEEDED)


async def test_an_operation_reads_32_mib(room: Room) -> None:
    """More is refused with how much it is, on several pages together too; the first passes."""
    sandbox = await room.running()
    await room.stream(sandbox, "small").all()
    end_with(room, await a_held_execution(room, sandbox), "x" * 33 * MIB)
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    service = room.services.executions
    with pytest.raises(PayloadTooLargeError, match=r"asked for are 33\.0 MiB") as caught:
        await service.page(room.viewer, sandbox.id, 20, None)
    large = await service.page(room.viewer, sandbox.id, 1, None)
    small = await service.page(room.viewer, sandbox.id, 20, large.cursors[0])
    outlines = await service.outlines(room.viewer, sandbox.id, 20, None)
    shared = ReadBudget()
    await service.page(room.viewer, sandbox.id, 1, None, shared)
    with pytest.raises(PayloadTooLargeError):
        await service.page(room.viewer, sandbox.id, 1, large.cursors[0], shared)

    assert caught.value.extensions == {"field": "first", "limitBytes": 32 * MIB}
    assert [len(each.stdout) for each in large.items] == [33 * MIB]
    assert [each.stdout for each in small.items] == ["small"]
    assert [each.id for each in outlines.items] == [large.items[0].id, small.items[0].id]


async def test_an_outline_says_what_the_whole_says(room: Room) -> None:
    """All but what is large, whether it runs or has ended."""
    sandbox = await room.running()
    await room.stream(sandbox, "hello").all()
    name = await a_held_execution(room, sandbox)
    service = room.services.executions

    async def agree(status: ExecutionStatus) -> None:
        whole = await service.page(room.viewer, sandbox.id, 20, None)
        outlines = await service.outlines(room.viewer, sandbox.id, 20, None)
        assert [outline(each) for each in whole.items] == outlines.items
        assert outlines.items[0].status is status
        assert (whole.cursors, whole.has_next_page) == (outlines.cursors, outlines.has_next_page)

    await agree(ExecutionStatus.RUNNING)
    end_with(room, name, "output")
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    await agree(ExecutionStatus.SUCCEEDED)


async def test_outlines_show_the_record_where_the_session_does_not(room: Room) -> None:
    """Whether the cluster is silent, or the session knows the execution no more."""
    sandbox = await room.running()
    await a_held_execution(room, sandbox)
    service = room.services.executions
    room.executor.faults["record"].append(ClusterUnavailableError("Ray is away."))
    silent = await service.outlines(room.viewer, sandbox.id, 20, None)
    session_of(room).executions.clear()
    unknown = await service.outlines(room.viewer, sandbox.id, 20, None)

    assert [each.status for each in silent.items] == [ExecutionStatus.QUEUED]
    assert unknown.items == silent.items


async def test_output_passes_as_it_is(room: Room) -> None:
    """Through the stream and the record, whatever it is."""
    nasty = "NUL \0, ''' \\ \r\n \x1b[0m \U0001f600"
    sandbox = await room.running()
    updates = await room.stream(sandbox, nasty).all()
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    execution = await room.services.executions.get(room.viewer, str(updates[0].execution_id))

    [output] = [event for event in events(updates) if isinstance(event, Output)]
    assert output.text == nasty
    assert execution is not None
    assert (execution.code, execution.stdout) == (nasty, nasty)
