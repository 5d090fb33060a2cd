"""Bounds on what one user has under way, on bodies, and on values in JSON."""

import asyncio
import json
from contextlib import ExitStack, suppress
from uuid import uuid4

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app import bodies
from app.bodies import read_body
from app.in_flight import SMALL_BYTES, InFlight
from app.json_text import MAX_VALUES, TooManyValuesError, decode
from services.entities import UserId
from services.errors import PayloadTooLargeError, QuotaExceededError
from services.limits import MIB

ME, OTHER = UserId(uuid4()), UserId(uuid4())


def test_what_is_held_is_given_back() -> None:
    """However a block ends, and then there is room again."""
    in_flight = InFlight(MIB)
    for _ in range(3):
        with suppress(QuotaExceededError), ExitStack() as stack:
            stack.enter_context(in_flight.hold(ME))(MIB)
            stack.enter_context(in_flight.hold(ME))(SMALL_BYTES + 1)

    with in_flight.hold(ME) as take:
        take(MIB)


def test_one_user_has_no_more_than_the_bound() -> None:
    """What would be over it is refused, unless it is small; another user feels nothing."""
    in_flight = InFlight(MIB)
    with ExitStack() as stack:
        stack.enter_context(in_flight.hold(ME))(MIB // 2)
        second = stack.enter_context(in_flight.hold(ME))
        second(MIB // 2)
        with pytest.raises(QuotaExceededError) as refused:
            second(1)
        stack.enter_context(in_flight.hold(OTHER))(MIB)

        stack.enter_context(in_flight.hold(ME))(SMALL_BYTES)

    assert refused.value.extensions == {"limit": "bytesUnderWay"}


def test_one_thing_alone_may_be_larger() -> None:
    """The largest answer there is comes to who asks for nothing else."""
    with InFlight(MIB).hold(ME) as take:
        take(MIB)
        take(MIB)


def request(*parts: bytes, headers: dict[str, str] | None = None) -> Request:
    """Make a request whose body comes in parts; after them nothing comes."""
    left = list(parts)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def nothing(_size: int) -> None:
    """Take what is read without counting."""


@pytest.mark.parametrize(
    ("parts", "headers"),
    [((b"12345", b"678901"), {}), ((), {"content-length": "11"})],
    ids=["as it comes", "announced"],
)
async def test_a_body_over_the_limit(parts: tuple[bytes, ...], headers: dict[str, str]) -> None:
    """It is refused as soon as that is known."""
    with pytest.raises(PayloadTooLargeError):
        await read_body(request(*parts, headers=headers), 10, nothing)


async def test_a_silent_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stops sending is taken for gone, and what came has been counted."""
    monkeypatch.setattr(bodies, "SILENT_SECONDS", 0.01)
    taken: list[int] = []
    with pytest.raises(ClientDisconnect):
        await read_body(request(b"123", b"4"), 10, taken.append)

    assert taken == [3, 1]


FITS = [
    [0] * MAX_VALUES,
    {str(number): number for number in range(MAX_VALUES // 2)},
    [{}] * (MAX_VALUES // 2 - 1),
    ['"],[{\\,' * 10] * (MAX_VALUES // 8),
    ["[" * 1_000_000, "," * 1_000_000, '"' * 1_000_000, "\\" * 1_000_001],
]


@pytest.mark.parametrize("value", FITS, ids=["numbers", "names", "objects", "quotes", "long"])
def test_values_that_fit(value: object) -> None:
    """What stands in strings does not count, however it looks, as text or as bytes."""
    text = json.dumps(value)

    assert decode(text) == decode(text.encode()) == value


@pytest.mark.parametrize(
    "value",
    [[0] * (MAX_VALUES + 2), [[]] * MAX_VALUES, {str(n): "" for n in range(MAX_VALUES)}],
    ids=["numbers", "lists", "names"],
)
def test_too_many_values(value: object) -> None:
    """They are refused before they are read."""
    with pytest.raises(TooManyValuesError):
        decode(json.dumps(value))
