"""Turns: so many of one user's at once, so many that wait, and nothing kept of who has left."""

import asyncio
from uuid import uuid4

import pytest

from services.errors import QuotaExceededError
from services.turns import Turns


async def test_a_user_has_so_many_turns_at_once() -> None:
    """Others have their own; who waits comes in order."""
    turns, user, other = Turns(at_once=2, most_waiting=2), uuid4(), uuid4()
    let_go = asyncio.Event()
    begun: list[int] = []

    async def submit(number: int) -> None:
        async with turns.take(user):
            begun.append(number)
            await let_go.wait()

    tasks = [asyncio.create_task(submit(number)) for number in range(4)]
    await asyncio.sleep(0)
    async with turns.take(other):
        assert begun == [0, 1]
    with pytest.raises(QuotaExceededError):
        await submit(4)
    let_go.set()
    await asyncio.gather(*tasks)

    assert begun == [0, 1, 2, 3]
    assert turns._users == {}


async def test_who_is_cancelled_leaves_no_trace() -> None:
    """Neither in a turn nor while waiting for one."""
    turns, user = Turns(at_once=1, most_waiting=5), uuid4()

    async def submit() -> None:
        async with turns.take(user):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(submit()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(1), turns.take(user):
        assert len(turns._users) == 1

    assert turns._users == {}
