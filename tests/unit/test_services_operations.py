"""Operations that outlive whoever asked for them, nudges, and words for what happened."""

import asyncio
from uuid import uuid4

import pytest

from services.entities import UserId
from services.errors import ServiceError, ServiceUnavailableError
from services.executor import errors
from services.nudges import Nudges
from services.operations import Operations
from services.patience import Patience
from services.translate import from_executor


async def test_a_client_that_leaves_cuts_no_operation_short() -> None:
    """The operation goes on to its end."""
    go, done = asyncio.Event(), asyncio.Event()

    async def operation() -> None:
        await go.wait()
        done.set()

    async with Operations() as operations:
        client = asyncio.create_task(operations.run(operation()))
        await asyncio.sleep(0)
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        go.set()

    assert done.is_set()


async def test_an_operation_that_takes_too_long_is_cancelled_on_closing() -> None:
    """And awaited: nothing of it goes on afterwards."""
    ended = asyncio.Event()

    async def operation() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    operations = Operations(grace_seconds=0.01)
    task = operations.begin(operation())
    await asyncio.sleep(0)
    await operations.aclose()

    assert task.cancelled()
    assert ended.is_set()


async def test_nothing_begins_after_closing() -> None:
    """The server is going down, and says so."""
    operations = Operations()
    await operations.aclose()

    with pytest.raises(ServiceUnavailableError):
        operations.begin(asyncio.sleep(0))


async def test_an_operations_error_reaches_its_caller() -> None:
    """As it was raised."""
    async with Operations() as operations:
        with pytest.raises(ServiceUnavailableError, match="for a reason"):
            await operations.run(_fail())


async def _fail() -> None:
    raise ServiceUnavailableError("for a reason")


async def test_a_nudge_wakes_its_owners_listeners_and_everybodys() -> None:
    """And nobody else's."""
    nudges, owner, other = Nudges(), UserId(uuid4()), UserId(uuid4())
    with nudges.listen(owner) as mine, nudges.listen() as all_, nudges.listen(other) as others:
        nudges.changed(owner)
        async with asyncio.timeout(1):
            await mine.wait(60)
            await all_.wait(60)
        before = asyncio.get_running_loop().time()
        await others.wait(0.05)

        assert asyncio.get_running_loop().time() - before >= 0.04


async def test_a_nudge_between_two_waits_is_not_lost() -> None:
    """It ends the next wait at once."""
    nudges, owner = Nudges(), UserId(uuid4())
    with nudges.listen(owner) as listener:
        nudges.changed(owner)
        async with asyncio.timeout(1):
            await listener.wait(60)


async def test_patience_ends() -> None:
    """With what was waited for in the message."""
    with Nudges().listen() as listener:
        patience = Patience(0.05, listener)
        with pytest.raises(ServiceUnavailableError, match="The tide"):
            await _wait_for_ever(patience)


async def _wait_for_ever(patience: Patience) -> None:
    while True:
        await patience.wait("The tide is out")


@pytest.mark.parametrize("kind", errors.ExecutorError.__subclasses__())
def test_every_condition_of_the_executor_has_words_for_clients(
    kind: type[errors.ExecutorError],
) -> None:
    """None of them is an internal error."""
    translated = from_executor(kind("what happened"))

    assert type(translated) is not ServiceError
    assert translated.message
