"""One operation's turns at asking sessions."""

import asyncio

import pytest

from services.errors import ServiceUnavailableError
from services.session_turns import SessionTurns


async def test_what_one_raises_stands_in_its_place() -> None:
    """All others are answered, and each is asked once."""
    asked: list[int] = []

    async def ask(number: int) -> str:
        asked.append(number)
        if number == 2:
            raise ValueError(number)
        return str(number)

    found = await SessionTurns(at_once=2).each({f"n{n}": n for n in range(5)}, ask)

    assert asked == [0, 1, 2, 3, 4]
    assert isinstance(found.pop("n2"), ValueError)
    assert found == {"n0": "0", "n1": "1", "n3": "3", "n4": "4"}


async def test_a_turn_that_does_not_come_is_refused() -> None:
    """Whoever holds the turns keeps them, and the next one comes once they are free."""
    turns = SessionTurns(at_once=1, wait_seconds=0.01)
    async with turns.take():
        with pytest.raises(ServiceUnavailableError):
            async with turns.take():
                pass
    async with turns.take():
        pass


async def test_a_turn_is_free_again_whatever_was_raised() -> None:
    """By the one who had it, or because it was cancelled while it waited."""
    turns = SessionTurns(at_once=1, wait_seconds=10)

    async def wait() -> None:
        async with turns.take():
            await asyncio.Event().wait()

    holder, waiter = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    for task in (waiter, holder):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with turns.take():
        pass
