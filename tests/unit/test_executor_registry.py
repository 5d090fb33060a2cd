"""The executions that a session remembers."""

import asyncio
from itertools import pairwise

import pytest

from services.executor import registry as registry_module
from services.executor.errors import QueueFullError, UnknownExecutionError
from services.executor.execution import Execution
from services.executor.messages import (
    DisplayData,
    ExecutionKind,
    ExecutionStatus,
    Finished,
    Gap,
    OutputStream,
)
from services.executor.registry import KEPT, Registry
from services.executor.verdicts import Verdict

DONE = Verdict(ExecutionStatus.SUCCEEDED, 0)


def ended(registry: Registry, name: str, kind: ExecutionKind = ExecutionKind.CODE) -> Execution:
    """Have an execution that has run to its end."""
    execution = Execution(name, kind)
    registry.add(execution)
    execution.start()
    execution.finish(DONE)
    registry.ended(execution)
    return execution


async def test_a_record_is_given_until_it_is_acknowledged() -> None:
    """What has ended is given to a recorder again and again until it says that it has it."""
    registry = Registry()
    ended(registry, "one")
    assert [record.execution_id for record in registry.unrecorded()] == ["one"]
    assert [record.execution_id for record in registry.unrecorded()] == ["one"]
    registry.acknowledge(["one", "unknown"])

    assert registry.unrecorded() == registry.all_unrecorded() == ()
    assert registry.get("one").record().status is ExecutionStatus.SUCCEEDED


async def test_an_acknowledgement_before_any_giving_is_none() -> None:
    """A recorder can't acknowledge what it was never given."""
    registry = Registry()
    ended(registry, "one")
    registry.acknowledge(["one"])

    assert len(registry.unrecorded()) == 1


async def news(registry: Registry) -> None:
    """Wait, as a recorder does, until there may be something to record."""
    registry.news.clear()
    await registry.news.wait()


async def test_output_after_the_end_is_recorded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that has changed since it was given is given again, with the new text."""
    monkeypatch.setattr(registry_module, "AGAIN_SECONDS", 0.01)
    registry = Registry()
    execution = ended(registry, "one")
    registry.unrecorded()
    execution.output(OutputStream.STDOUT, b"late")
    registry.changed(execution)
    registry.acknowledge(["one"])
    at_once = registry.unrecorded()
    await news(registry)
    [record] = registry.unrecorded()
    registry.acknowledge(["one"])

    assert at_once == ()
    assert record.stdout == "late"
    assert registry.unrecorded() == registry.all_unrecorded() == ()


async def test_output_without_end_is_recorded_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that prints for hours has its record written seldom, and whole at a stop."""
    monkeypatch.setattr(registry_module, "AGAIN_SECONDS", 0.01)
    registry = Registry()
    execution = ended(registry, "one")
    clock = asyncio.get_running_loop().time
    given_at: list[float] = []
    while len(given_at) < 5:
        execution.output(OutputStream.STDOUT, b".")
        registry.changed(execution)
        if registry.unrecorded():
            given_at.append(clock())
            registry.acknowledge(["one"])
        await asyncio.sleep(0.001)
    execution.output(OutputStream.STDOUT, b"!")
    registry.changed(execution)
    gaps = [later - sooner for sooner, later in pairwise(given_at)]

    assert all(gap >= 0.01 * 2**number for number, gap in enumerate(gaps))
    assert registry.unrecorded() == ()
    assert registry.all_unrecorded()[0].stdout.endswith("!")


async def test_output_for_days_is_still_put_off() -> None:
    """However often a record was given again, the next time is at the longest a minute away."""
    registry = Registry()
    execution = ended(registry, "one")
    registry.unrecorded()
    registry.acknowledge(["one"])
    execution.recordings = 5000
    execution.output(OutputStream.STDOUT, b"late")
    registry.changed(execution)

    assert registry.unrecorded() == ()
    assert registry.all_unrecorded()[0].stdout == "late"


async def test_tools_leave_no_record() -> None:
    """A run of ray-agents' tools is forgotten when it ends, but counted."""
    registry = Registry()
    ended(registry, "tool", ExecutionKind.TOOL)

    assert registry.unrecorded() == ()
    assert registry.find("tool") is None
    assert registry.count == 1
    with pytest.raises(UnknownExecutionError):
        registry.get("tool")


async def test_the_oldest_recorded_are_forgotten() -> None:
    """So many ended executions can still be read; unrecorded ones are never forgotten."""
    registry = Registry()
    for number in range(KEPT + 10):
        ended(registry, str(number))
    while batch := registry.unrecorded():
        given = {record.execution_id for record in batch} - {"0"}
        registry.acknowledge(given)
        if not given:
            break

    assert registry.find("0") is not None
    assert [registry.find(str(number)) for number in range(1, 10)] == [None] * 9
    assert registry.find(str(KEPT + 9)) is not None


async def test_too_many_unrecorded_executions_stop_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a recorder a session takes a bounded number, and says so then."""
    monkeypatch.setattr(registry_module, "UNRECORDED", 3)
    registry = Registry()
    for number in range(3):
        ended(registry, str(number))

    with pytest.raises(QueueFullError) as raised:
        registry.add(Execution("more", ExecutionKind.CODE))
    assert raised.value.details == {"limit": 3}
    registry.unrecorded()
    registry.acknowledge(["0"])
    registry.add(Execution("more", ExecutionKind.CODE))


async def test_events_of_ended_executions_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest ended executions lose their events first, and readers are told by a gap."""
    monkeypatch.setattr(registry_module, "ENDED_EVENTS_BYTES", 250_000)
    registry = Registry()
    made = []
    for number in range(5):
        execution = Execution(str(number), ExecutionKind.CODE)
        registry.add(execution)
        execution.start()
        execution.output(OutputStream.STDOUT, b"x" * 100_000)
        execution.finish(DONE)
        registry.ended(execution)
        made.append(execution)
    oldest = (await made[0].read(0, 2**30, 0, "")).events
    newest = (await made[-1].read(0, 2**30, 0, "")).events

    assert any(isinstance(event, Gap) and event.dropped_bytes == 100_000 for event in oldest)
    assert isinstance(oldest[-1], Finished)
    assert not any(isinstance(event, Gap) for event in newest)
    assert made[0].record().stdout == "x" * 100_000


async def test_records_that_can_still_be_read_are_bounded_in_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of recorded executions only as many are kept as take bounded memory."""
    monkeypatch.setattr(registry_module, "RECORDED_BYTES", 1000)
    registry = Registry()
    for number in range(5):
        execution = Execution(str(number), ExecutionKind.CODE)
        registry.add(execution)
        execution.start()
        execution.display(DisplayData({"text/plain": "x"}, is_result=False), 400)
        execution.finish(DONE)
        registry.ended(execution)
    registry.unrecorded()
    registry.acknowledge([str(number) for number in range(5)])

    assert [registry.find(str(number)) is not None for number in range(5)] == [
        False,
        False,
        False,
        True,
        True,
    ]


async def test_an_execution_ends_once() -> None:
    """A second end changes nothing, and no event follows the first."""
    execution = Execution("one", ExecutionKind.CODE)
    execution.start()
    execution.finish(DONE)
    execution.finish(Verdict(ExecutionStatus.LOST, 137))
    execution.clear(wait=False)
    execution.output(OutputStream.STDERR, b"late")
    batch = await execution.read(0, 2**30, 0, "")

    assert execution.status is ExecutionStatus.SUCCEEDED
    assert batch.ended
    assert isinstance(batch.events[-1], Finished)
    assert execution.record().last_seq == batch.events[-1].seq


async def test_what_is_not_on_record_is_given_once_somebody_asks_for_it() -> None:
    """Who asks has its id from the record; until then there is nothing to write its end into."""
    registry = Registry()
    execution = off_record(registry)
    before, news = registry.unrecorded(), registry.news.is_set()
    assert registry.find("one") is execution

    assert (before, news) == ((), False)
    assert registry.news.is_set()
    assert [record.execution_id for record in registry.unrecorded()] == ["one"]


async def test_what_is_asked_for_as_it_runs_is_given_at_its_end() -> None:
    """As any other."""
    registry = Registry()
    execution = off_record(registry, to_its_end=False)
    registry.get("one")
    execution.finish(DONE)
    registry.ended(execution)

    assert registry.news.is_set()
    assert [record.execution_id for record in registry.unrecorded()] == ["one"]


async def test_what_nobody_asks_for_is_given_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller may have died, with or without a record of it; then it can be forgotten."""
    monkeypatch.setattr(registry_module, "OFF_RECORD_SECONDS", 0.05)
    registry = Registry()
    off_record(registry)
    async with asyncio.timeout(5):
        await registry.news.wait()

    assert [record.execution_id for record in registry.unrecorded()] == ["one"]
    registry.acknowledge(["one"])
    assert registry.all_unrecorded() == ()


async def test_whoever_ends_a_session_is_given_all() -> None:
    """There is no later for it."""
    registry = Registry()
    off_record(registry)

    assert [record.execution_id for record in registry.all_unrecorded()] == ["one"]


def off_record(registry: Registry, *, to_its_end: bool = True) -> Execution:
    """Have an execution whose record is still being written."""
    execution = Execution("one", ExecutionKind.CODE)
    registry.add(execution, on_record=False)
    execution.start()
    if to_its_end:
        execution.finish(DONE)
        registry.ended(execution)
    return execution
