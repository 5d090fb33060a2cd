"""Code that is given to its session while its record is being written."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, update

from db.tables import SandboxRow
from services import submitter
from services.entities import CodeToRun, Sandbox
from services.errors import ConflictError, ServiceUnavailableError, UnrecordedError
from services.executor.errors import ClusterUnavailableError, QueueFullError
from services.executor.messages import ExecutionStatus
from services.read_budget import ReadBudget
from services.transactions import Transactions
from tests.support.pages import page_of
from tests.support.rooms import Room, a_held_execution, events, recorded, session_of, until
from tests.support.scripted_sessions import HOLD, ScriptedSession

MOMENT = 0.1
"""In which whatever does not wait for the record has long been done."""


@asynccontextmanager
async def no_records(room: Room) -> AsyncIterator[None]:
    """Keep the user's executions from being recorded, as a slow database does."""
    async with room.database.tenant_session(room.viewer.claims, serialized=True):
        yield
        # What the block began is waiting at the lock by now, and is let go.


async def warm(room: Room) -> Sandbox:
    """Return a sandbox in which code has run."""
    sandbox = await room.running()
    await room.stream(sandbox, "hello").all()
    room.executor.calls.clear()
    return sandbox


async def executed(room: Room) -> bool:
    """Whether the session has been given code."""
    return room.executor.calls["execute"] == 1


async def test_code_is_given_before_its_record_is_written(room: Room) -> None:
    """And nothing is told of it until then."""
    sandbox = await warm(room)
    async with no_records(room):
        reading = asyncio.create_task(room.stream(sandbox, "again").all())
        await until(lambda: executed(room))
        await asyncio.sleep(MOMENT)
        told = reading.done()
    updates = await reading
    row = await recorded(room, updates[-1])

    assert not told
    assert [update.event.seq for update in updates] == [1, 2, 3, 4]
    assert room.executor.calls["execute"] == 1
    assert row is not None


async def test_its_end_is_recorded_only_then(room: Room) -> None:
    """Whoever records ends finds none before there is a row for it."""
    sandbox = await warm(room)
    session = session_of(room)
    async with no_records(room):
        reading = asyncio.create_task(room.stream(sandbox, "again").all())
        await until(lambda: executed(room))
        before = await session.collect((), 0, 0)
    await reading
    after = await session.collect((), 0, 0)

    assert [record.stdout for record in before.ended] == ["hello"]
    assert [record.stdout for record in after.ended] == ["hello", "again"]


async def test_a_mutation_has_it_too(room: Room) -> None:
    """`runCode` is no slower than the subscription."""
    sandbox = await warm(room)
    run = room.services.executions.run
    async with no_records(room):
        task = asyncio.create_task(
            run(room.viewer, CodeToRun(str(sandbox.id), "again"), ReadBudget())
        )
        await until(lambda: executed(room))
    execution = await task

    assert execution.stdout == "again"
    assert room.executor.calls["execute"] == 1


async def test_code_does_not_overtake_what_waits_for_its_record(room: Room) -> None:
    """What was sent first, with an id of its own, runs first."""
    sandbox = await warm(room)
    async with no_records(room):
        first = asyncio.create_task(room.stream(sandbox, "1", client_execution_id="a").all())
        await asyncio.sleep(0)
        second = asyncio.create_task(room.stream(sandbox, "2").all())
        await asyncio.sleep(MOMENT)
        given = room.executor.calls["execute"]
    await asyncio.gather(first, second)

    assert given == 0
    assert room.executor.calls["execute"] == 2


@pytest.mark.parametrize("why", ["first", "own id", "far", "busy"])
async def test_code_waits_for_its_record(room: Room, why: str) -> None:
    """Where the record may yet be refused, or may say that it has run already."""
    sandbox = await room.running() if why == "first" else await warm(room)
    room.executor.near = why != "far"
    if why == "busy":
        # Two of the three that are allowed.
        for _ in range(2):
            await a_held_execution(room, sandbox)
        room.executor.calls.clear()
    async with no_records(room):
        wanted = {"client_execution_id": "a"} if why == "own id" else {}
        reading = asyncio.create_task(room.stream(sandbox, "again", **wanted).all())
        await asyncio.sleep(MOMENT)
        given = room.executor.calls["execute"]
    await reading

    assert given == 0
    assert room.executor.calls["execute"] == 1


async def interrupted(room: Room) -> bool:
    """Whether what the one session was given last has been."""
    return await is_interrupted(session_of(room))


async def is_interrupted(session: ScriptedSession) -> bool:
    """Whether what a session was given last has been."""
    *_, last = session.executions.values()
    return last.record.status is ExecutionStatus.INTERRUPTED


async def test_code_that_is_refused_is_interrupted(room: Room) -> None:
    """The sandbox was stopped by another process just then: there is no record of the code."""
    sandbox = await warm(room)
    await set_row(room, sandbox, status="STOPPING")
    with pytest.raises(ConflictError):
        await room.stream(sandbox, HOLD).all()
    await until(lambda: interrupted(room))
    await set_row(room, sandbox, status="RUNNING")
    page = await page_of(room.services, room.viewer, sandbox.id)

    assert [each.code for each in page.items] == ["hello"]


async def test_a_database_that_is_away_for_a_moment_is_waited_for(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that has been given is not refused: sent again, it would run twice."""
    sandbox = await warm(room)
    away = deque([ServiceUnavailableError("The database does not answer.")] * 2)
    call = Transactions.call

    async def fail(self: Transactions, *asked: Any) -> object:  # noqa: ANN401 - as `call` takes
        if away:
            raise away.popleft()
        return await call(self, *asked)

    monkeypatch.setattr(Transactions, "call", fail)
    updates = await room.stream(sandbox, "again").all()

    assert [update.event.seq for update in updates] == [1, 2, 3, 4]
    assert room.executor.calls["execute"] == 1
    assert not away


async def test_code_that_comes_on_no_record_is_interrupted(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is none after which to send it again; the next code waits for its record."""
    sandbox = await warm(room)

    async def fail(*_: object) -> object:
        raise ServiceUnavailableError("The database does not answer.")

    monkeypatch.setattr(submitter, "RECORD_PATIENCE", timedelta(seconds=0.2))
    with monkeypatch.context() as patched:
        patched.setattr(Transactions, "call", fail)
        with pytest.raises(UnrecordedError):
            await room.stream(sandbox, HOLD).all()
        room.executor.calls.clear()
        with pytest.raises(ServiceUnavailableError):
            await room.stream(sandbox, HOLD).all()
    await until(lambda: interrupted(room))

    assert room.executor.calls["execute"] == 0


async def test_code_for_a_session_that_was_replaced_runs_in_the_new_one(room: Room) -> None:
    """What the old one was given is interrupted, and not told of."""
    sandbox = await warm(room)
    old = session_of(room)
    new = room.executor.sessions["another"] = ScriptedSession("another")
    await set_row(room, sandbox, session_id="another")
    reading = asyncio.create_task(room.stream(sandbox, HOLD).all())

    async def runs() -> bool:
        return bool(new.unended())

    await until(runs)
    [held] = new.unended()
    new.finish(held, ExecutionStatus.SUCCEEDED)
    updates = await reading

    await until(lambda: is_interrupted(old))

    assert [update.event.seq for update in updates] == [1, 2, 3]
    assert [each.record.status for each in old.executions.values()] == [
        ExecutionStatus.SUCCEEDED,
        ExecutionStatus.INTERRUPTED,
    ]


async def test_code_is_interrupted_though_nobody_heard_that_it_was_given(room: Room) -> None:
    """The session has it, and its answer was lost; then the record is refused."""
    sandbox = await warm(room)
    room.executor.afterwards["execute"].append(ClusterUnavailableError("Ray is away."))
    await set_row(room, sandbox, status="STOPPING")
    with pytest.raises(ConflictError):
        await room.stream(sandbox, HOLD).all()
    await until(lambda: interrupted(room))


async def test_a_refusal_does_not_wait_for_the_session(room: Room) -> None:
    """Whatever it does: the code is taken back as soon as it answers."""
    sandbox = await warm(room)
    gate = room.executor.gates["execute"] = asyncio.Event()
    await set_row(room, sandbox, status="STOPPING")
    async with asyncio.timeout(5):
        with pytest.raises(ConflictError):
            await room.stream(sandbox, HOLD).all()
    gate.set()
    await until(lambda: interrupted(room))


async def test_a_record_that_was_written_twice_is_one(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection was lost after the commit: the statement finds what it has added itself."""
    sandbox = await warm(room)
    call = Transactions.call

    async def twice(self: Transactions, *asked: Any) -> object:  # noqa: ANN401 - as `call` takes
        await call(self, *asked)
        return await call(self, *asked)

    with monkeypatch.context() as patched:
        patched.setattr(Transactions, "call", twice)
        updates = await room.stream(sandbox, "again").all()

    assert [update.event.seq for update in updates] == [1, 2, 3, 4]
    assert room.executor.calls["execute"] == 1


async def test_a_full_queue_leaves_no_record(room: Room) -> None:
    """As where the record was written first."""
    sandbox = await warm(room)
    room.executor.faults["execute"].append(QueueFullError("The queue is full.", limit=32))
    with pytest.raises(ConflictError) as caught:
        await room.stream(sandbox, "again").all()

    assert caught.value.extensions == {"status": "RUNNING", "limit": "queue"}
    assert await room.services.pages.counts(room.viewer, [sandbox.id]) == [1]


async def test_a_client_that_goes_before_it_is_told_anything(room: Room) -> None:
    """Its code runs all the same, and is on the record; its session waits for no reader."""
    sandbox = await warm(room)
    async with no_records(room):
        reading = asyncio.create_task(room.stream(sandbox, HOLD).all())
        await until(lambda: executed(room))
        reading.cancel()
        await asyncio.wait([reading])
        left = room.executor.calls["leave"]

    async def has_left() -> bool:
        return room.executor.calls["leave"] == 1

    await until(has_left)
    page = await page_of(room.services, room.viewer, sandbox.id)

    assert left == 0
    assert {each.code for each in page.items} == {"hello", HOLD}


async def test_events_are_those_of_any_other(room: Room) -> None:
    """The same kinds and numbers as of code that has waited for its record."""
    sandbox = await room.running()
    first = await room.stream(sandbox, "hello").all()
    second = await room.stream(sandbox, "hello").all()

    assert [type(event) for event in events(first)] == [type(event) for event in events(second)]
    assert first[-1].execution_id != second[-1].execution_id


async def set_row(room: Room, sandbox: Sandbox, **values: object) -> None:
    """Change a sandbox's row, as another process does."""
    async with room.database.service_session() as session:
        await session.exec(
            update(SandboxRow).where(col(SandboxRow.id) == sandbox.id).values(**values)
        )
