"""Executions read back by their owner alone: from the record, page by page, within bounds."""

from dataclasses import replace

import pytest

from services.entities import CodeToRun
from services.errors import (
    BadUserInputError,
    NotFoundError,
    PayloadTooLargeError,
    ServiceUnavailableError,
)
from services.executor.errors import ClusterUnavailableError
from services.executor.messages import Event, ExecutionStatus, Finished, Gap, Output
from services.limits import MAX_SEQ, MIB
from services.read_budget import ReadBudget
from tests.support.pages import outlines_of, page_of
from tests.support.rooms import Room, a_held_execution, events, room_in, session_of
from tests.support.scripted_sessions import HOLD
from tests.support.stub_services import outline


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


async def test_anothers_executions_are_not_there(room: Room) -> None:
    """By none of the ways to name one."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox, client="a")
    async with room_in(room.database, room.executor) as other:
        service, viewer = other.services.executions, other.viewer
        assert await service.get(viewer, name, ReadBudget()) is None
        assert (await page_of(other.services, viewer, sandbox.id)).items == []
        assert await other.services.pages.counts(viewer, [sandbox.id]) == [0]
        for attempt in (
            service.interrupt(viewer, name, ReadBudget()),
            service.provide_input(viewer, name, 3, "x", ReadBudget()),
            anext(service.follow(viewer, name, 0)),
            service.run(
                viewer, CodeToRun(str(sandbox.id), "x", client_execution_id="a"), ReadBudget()
            ),
        ):
            with pytest.raises(NotFoundError):
                await attempt


async def test_pages_go_from_the_newest_to_the_oldest(room: Room) -> None:
    """Cursor by cursor, and back to where a page ended."""
    sandbox = await room.running()
    names = [(await room.stream(sandbox, str(i)).all())[0].execution_id for i in range(3)]
    first = await page_of(room.services, room.viewer, sandbox.id, 2, None)
    second = await page_of(room.services, room.viewer, sandbox.id, 2, first.cursors[-1])

    assert [each.id for each in [*first.items, *second.items]] == names[::-1]
    assert (first.has_next_page, first.has_previous_page) == (True, False)
    assert (second.has_next_page, second.has_previous_page) == (False, True)
    with pytest.raises(BadUserInputError):
        await page_of(room.services, room.viewer, sandbox.id, 0, None)


async def test_a_list_shows_the_record_where_the_cluster_is_silent(room: Room) -> None:
    """A single one is not answered by half."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    room.executor.faults["record"] += [ClusterUnavailableError("Ray is away.")] * 2
    page = await page_of(room.services, room.viewer, sandbox.id)

    assert [each.status for each in page.items] == [ExecutionStatus.QUEUED]
    with pytest.raises(ServiceUnavailableError):
        await room.services.executions.get(room.viewer, name, ReadBudget())


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
    with pytest.raises(PayloadTooLargeError, match=r"asked for are 33\.0 MiB") as caught:
        await page_of(room.services, room.viewer, sandbox.id)
    large = await page_of(room.services, room.viewer, sandbox.id, 1, None)
    small = await page_of(room.services, room.viewer, sandbox.id, 20, large.cursors[0])
    outlines = await outlines_of(room.services, room.viewer, sandbox.id)
    shared = ReadBudget()
    await page_of(room.services, room.viewer, sandbox.id, 1, None, shared)
    with pytest.raises(PayloadTooLargeError):
        await page_of(room.services, room.viewer, sandbox.id, 1, large.cursors[0], shared)

    assert caught.value.extensions == {"field": "first", "limitBytes": 32 * MIB}
    assert [len(each.stdout) for each in large.items] == [33 * MIB]
    assert [each.stdout for each in small.items] == ["small"]
    assert [each.id for each in outlines.items] == [large.items[0].id, small.items[0].id]


async def test_an_outline_says_what_the_whole_says(room: Room) -> None:
    """All but what is large, whether it runs or has ended."""
    sandbox = await room.running()
    await room.stream(sandbox, "hello").all()
    name = await a_held_execution(room, sandbox)

    async def agree(status: ExecutionStatus) -> None:
        whole = await page_of(room.services, room.viewer, sandbox.id)
        outlines = await outlines_of(room.services, room.viewer, sandbox.id)
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
    room.executor.faults["record"].append(ClusterUnavailableError("Ray is away."))
    silent = await outlines_of(room.services, room.viewer, sandbox.id)
    session_of(room).executions.clear()
    unknown = await outlines_of(room.services, room.viewer, sandbox.id)

    assert [each.status for each in silent.items] == [ExecutionStatus.QUEUED]
    assert unknown.items == silent.items


async def test_output_passes_as_it_is(room: Room) -> None:
    """Through the stream and the record, whatever it is."""
    nasty = "NUL \0, ''' \\ \r\n \x1b[0m \U0001f600"
    sandbox = await room.running()
    updates = await room.stream(sandbox, nasty).all()
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    execution = await room.services.executions.get(
        room.viewer, str(updates[0].execution_id), ReadBudget()
    )

    [output] = [event for event in events(updates) if isinstance(event, Output)]
    assert output.text == nasty
    assert execution is not None
    assert (execution.code, execution.stdout) == (nasty, nasty)


async def test_a_reader_further_on_is_told_of_an_end_that_nobody_saw(room: Room) -> None:
    """Once, though the end has been numbered by a reader that had come less far."""
    sandbox = await room.running()
    live = room.stream(sandbox, HOLD)
    name = str([await anext(live.source), await anext(live.source)][0].execution_id)
    room.executor.kill(session_of(room).session_id)

    async def follow(after: int) -> list[Event]:
        source = room.services.executions.follow(room.viewer, name, after)
        return events([update async for update in source])

    first = await follow(0)
    same = events(await live.all())
    further = await follow(7)
    again = [await follow(after) for after in (7, 8)]
    record = await room.services.executions.get(room.viewer, name, ReadBudget())

    assert [(type(event), event.seq) for event in first] == [(Gap, 1), (Finished, 2)]
    assert [(type(event), event.seq) for event in same] == [(Finished, 3)]
    assert [(type(event), event.seq) for event in further] == [(Finished, 8)]
    assert again == [further, []]
    assert record is not None
    assert record.last_seq == 8


async def test_nobody_is_told_more_after_an_end_that_was_seen(room: Room) -> None:
    """However far a client says that it has come."""
    sandbox = await room.running()
    name = str((await room.stream(sandbox, "hello").all())[0].execution_id)
    await room.services.sandboxes.stop(room.viewer, str(sandbox.id))
    follow = room.services.executions.follow

    assert [update async for update in follow(room.viewer, name, 4)] == []
    assert [update async for update in follow(room.viewer, name, MAX_SEQ)] == []


async def test_the_furthest_place_leaves_room_for_the_end(room: Room) -> None:
    """An end that nobody saw comes after any place that a client may name."""
    sandbox = await room.running()
    name = await a_held_execution(room, sandbox)
    room.executor.kill(session_of(room).session_id)
    follow = room.services.executions.follow
    told = events([update async for update in follow(room.viewer, name, MAX_SEQ)])

    assert [type(event) for event in told] == [Gap, Finished]
    assert told[-1].seq <= 2**31 - 1
