"""Readiness, and a database that is not there yet."""

import asyncio
from collections.abc import Sequence
from typing import Self, cast

import pytest

from app import caretaker, health
from app.caretaker import Caretaker
from app.health import Checks
from app.settings import SettingsError
from db.errors import DatabaseUnavailableError, MigrationError
from services.keeper import Keeper


class Counted:
    """A check that counts how often it was asked."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        self.asked = 0

    async def __call__(self) -> Sequence[str]:
        """Answer with the problems."""
        self.asked += 1
        await asyncio.sleep(0)
        return self.problems


async def test_answers_are_kept_for_a_while() -> None:
    """However many ask, the cluster is asked once, and each problem is named with its part."""
    docker, ray = Counted("it does not answer"), Counted()
    checks = Checks({"docker": docker, "ray": ray})

    answers = await asyncio.gather(*(checks.problems() for _ in range(5)))

    assert answers == [["docker: it does not answer"]] * 5
    assert (docker.asked, ray.asked) == (1, 1)


async def test_silence_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that does not answer in time is a problem, and delays no longer."""
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.01)

    async def silent() -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    assert await Checks({"ray": silent}).problems() == ["ray: no answer within 0.01 s"]


class StubKeeper:
    """Knows whether it was entered and left."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = False

    async def __aenter__(self) -> Self:
        self.entered.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Faults that the next migrations meet, in turn."""
    coming: list[Exception] = []

    async def upgrade(_url: str) -> None:
        if coming:
            raise coming.pop(0)

    monkeypatch.setattr(caretaker, "upgrade", upgrade)
    monkeypatch.setattr(caretaker, "RETRY_SECONDS", 0.001)
    return coming


async def test_database_that_comes_later(faults: list[Exception]) -> None:
    """In production the start goes on, says what is missing, and recovers by itself."""
    faults += [DatabaseUnavailableError("down"), DatabaseUnavailableError("still")]
    keeper = StubKeeper()
    async with Caretaker("url", cast("Keeper", keeper), patient=True) as waiting:
        assert await waiting.problems()
        async with asyncio.timeout(5):
            await keeper.entered.wait()
            while await waiting.problems():  # noqa: ASYNC110 - it polls as /ready does
                await asyncio.sleep(0.001)

    assert keeper.left


async def test_end_while_waiting(faults: list[Exception]) -> None:
    """A server may end before its database has come."""
    faults += [DatabaseUnavailableError("down")] * 1000
    keeper = StubKeeper()
    async with Caretaker("url", cast("Keeper", keeper), patient=True):
        pass

    assert not keeper.entered.is_set()


@pytest.mark.parametrize("fault", [DatabaseUnavailableError("down"), MigrationError("no rights")])
async def test_start_without_a_database(faults: list[Exception], fault: Exception) -> None:
    """In development a database that can't be used ends the start in one line."""
    faults.append(fault)

    with pytest.raises(SettingsError, match=str(fault)):
        await Caretaker("url", cast("Keeper", StubKeeper()), patient=False).__aenter__()
