"""How many bytes one answer may take: an operation's, or one event's of a subscription."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

import orjson

from services.errors import PayloadTooLargeError
from services.limits import KIB, MAX_ANSWER_BYTES, MIB

SMALL_CHARACTERS: Final = 256
"""Shorter texts are not measured: they count as what they take where all is escaped."""
ESCAPED_BYTES: Final = 6
"""A control character's in JSON, as `\\u0000`; nothing takes more."""
OTHER_BYTES: Final = 40
"""About the longest of numbers, dates and the names of enums."""
BITS_OF_DIGIT: Final = 3
QUOTES: Final = 2
NAME_BYTES: Final = 4
"""What stands around the name of a field: two quotes, a colon, a comma."""
KEPT_BYTES: Final = MIB
"""For small values alone, so that an event still has its number where it lacks its data."""
MEASURED_AT_ONCE: Final = 64 * KIB
READS_AT_ONCE: Final = 8
MAX_TOLD: Final = 10
"""Errors of this kind in an answer: what else had no room is null without one."""

_LARGE: Final = (str, bytes, dict, list)


class AnswerTooLargeError(PayloadTooLargeError):
    """A value that the answer has no room for."""


class AnswerBudget:
    """Counts values before they are converted; once one is refused, so are all large ones."""

    def __init__(self, most_bytes: int = MAX_ANSWER_BYTES) -> None:
        """Begin with an answer that is empty."""
        self._most_bytes = most_bytes
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self.renew()

    def renew(self, **where: str | float) -> None:
        """Begin anew: each event is an answer of its own. Errors say `where`."""
        self._where = where
        self._taken = 0
        self._told = 0
        self._exhausted = False
        self._unmeasured: list[str] = []
        # With the values, so that no other gets the identity of one that is gone.
        self._measured: dict[int, tuple[object, int]] = {}

    def take(self, value: object) -> None:
        """Take what a leaf's value is in JSON. Raises `AnswerTooLargeError`."""
        if isinstance(value, str):
            if len(value) >= SMALL_CHARACTERS:
                self._take_text(value)
                return
            self._taken += ESCAPED_BYTES * len(value)
        elif isinstance(value, _LARGE):
            self._take_large(value)
            return
        elif isinstance(value, int):
            self._taken += max(OTHER_BYTES, value.bit_length() // BITS_OF_DIGIT)
        else:
            self._taken += OTHER_BYTES
        if self._taken > self._most_bytes:
            self._require(self._most_bytes)

    def take_names(self, names: Collection[str]) -> None:
        """Take the names of an object's fields. Raises as `take`."""
        self._taken += sum(map(len, names)) + NAME_BYTES * len(names)
        if self._taken > self._most_bytes:
            self._require(self._most_bytes)

    def require_room(self, size: int = 0) -> None:
        """See that a large value of at least so many bytes has room. Raises as `take`."""
        if self._exhausted:
            raise self._refusal()
        self._require(self._most_bytes - KEPT_BYTES - size)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """Wait for a turn to read a large value, a few at once. Raises as `take`."""
        async with self._reads:
            self.require_room()
            yield

    def tell(self) -> bool:
        """Count an error that is about to be told; False where enough have been."""
        self._told += 1
        return self._told <= MAX_TOLD

    def _take_text(self, text: str) -> None:
        # Measured only where it matters: most answers are far below the limit.
        most = ESCAPED_BYTES * len(text)
        if self._exhausted or self._taken + most > self._most_bytes - KEPT_BYTES:
            self._take_large(text)
        else:
            self._taken += most
            self._unmeasured.append(text)

    def _take_large(self, value: object) -> None:
        self.require_room(_least(value))
        size = self._measure(value)
        self.require_room(size)
        self._taken += size

    def _require(self, most: int) -> None:
        """See that no more has been taken, by the exact measure. Raises as `take`."""
        if self._taken > most:
            texts, self._unmeasured = self._unmeasured, []
            self._taken += sum(self._measure(each) - ESCAPED_BYTES * len(each) for each in texts)
        if self._taken > most:
            self._exhausted = True
            raise self._refusal()

    def _measure(self, value: object) -> int:
        # Aliases show the same value again and again.
        known = self._measured.get(id(value))
        if known is None:
            known = self._measured[id(value)] = (value, size_in_json(value))
        return known[1]

    def _refusal(self) -> AnswerTooLargeError:
        return AnswerTooLargeError(
            f"An answer, or one event's, has room for {self._most_bytes // MIB} MiB: ask for fewer"
            " aliases of large fields, fewer fields or fewer at once. The large values from here"
            f" on are null; {MAX_TOLD} errors say so at most.",
            **self._where,
            limitBytes=self._most_bytes,
        )


answer_budget: ContextVar[AnswerBudget] = ContextVar("answer_budget")
"""The operation's; set as it begins, since a websocket's context has many operations."""


def size_in_json(value: object) -> int:
    """Return how many bytes a text, bytes or any JSON value take on the wire."""
    if isinstance(value, bytes):
        return _least(value)
    if isinstance(value, str):
        # By parts, since the whole would be one more copy.
        starts = range(0, len(value), MEASURED_AT_ONCE)
        parts = (_encoded(value[start : start + MEASURED_AT_ONCE]) for start in starts)
        return QUOTES + sum(part - QUOTES for part in parts)
    return _encoded(value)


def _least(value: object) -> int:
    """Return what can be told without looking into the value."""
    if isinstance(value, bytes):
        return (len(value) + 2) // 3 * 4
    return len(value) if isinstance(value, str) else 0


def _encoded(value: object) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:
        # Whole numbers beyond 64 bit; no shorter than what is sent.
        return len(json.dumps(value))
