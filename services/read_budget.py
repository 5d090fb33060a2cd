"""How many bytes of code, output and results one operation may read."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from db.repositories.executions import PageSize
from db.tables import ExecutionRow
from services.entities import Execution
from services.errors import PayloadTooLargeError
from services.executor.messages import JSON, ExecutionRecord
from services.limits import MAX_READ_BYTES, MIB

UNMEASURED_AT_ONCE: Final = 8
"""Records of some 10 MiB at most, whose size is known once they have come."""
FEWER: Final = "ask for fewer at once, or without `code`, `stdout`, `stderr` and `results`."
ENDED: Final = "this one has ended, and `execution(id)` shows it in an operation of its own."


@dataclass(slots=True)
class _Meter:
    taken: int = 0
    unmeasured: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(UNMEASURED_AT_ONCE)
    )


class ReadBudget:
    """Shared by all that an operation reads, however many aliases or sandboxes it is under."""

    def __init__(self, most_bytes: int = MAX_READ_BYTES) -> None:
        self._most_bytes = most_bytes
        self._meter = _Meter()
        self._copies = 1
        self._where: Mapping[str, str] = {}

    def share(self, copies: int | None = None, **where: str) -> "ReadBudget":
        """Return the same budget for what is shown `copies` times; errors say `where`."""
        shared = ReadBudget(self._most_bytes)
        shared._meter = self._meter
        shared._copies = self._copies if copies is None else copies
        shared._where = {**self._where, **where}
        return shared

    def renew(self) -> None:
        """Begin anew: each event of a subscription is an answer of its own."""
        self._meter.taken = 0

    def take(self, size: PageSize, hint: str = FEWER) -> None:
        """Take so many bytes; the first execution of an operation always passes.

        Raises `PayloadTooLargeError`.
        """
        self._meter.taken += size.large_bytes * self._copies
        alone = self._meter.taken == size.large_bytes and size.executions == 1
        if not alone:
            self._require_left(hint)

    def take_more(self, measured: PageSize, rows: Sequence[ExecutionRow]) -> None:
        """Take what rows were found to have beyond their measure: they ended in between."""
        more = PageSize.of(rows).large_bytes - measured.large_bytes
        if more > 0:
            self.take(PageSize(len(rows), more))

    def take_ended(self, execution: Execution) -> None:
        """Take what was run or asked for by its owner just now. Raises as `take`."""
        self.share(executionId=str(execution.id)).take(size_of(execution), ENDED)

    @asynccontextmanager
    async def unmeasured(self) -> AsyncIterator[None]:
        """Wait for a turn to read what can be measured only then. Raises as `take`."""
        async with self._meter.unmeasured:
            self._require_left(FEWER)
            yield

    def _require_left(self, hint: str) -> None:
        taken = self._meter.taken
        if self._copies and taken > self._most_bytes:
            raise PayloadTooLargeError(
                f"Code, output and results of the executions asked for are {taken / MIB:.1f} MiB,"
                f" and an operation reads {self._most_bytes // MIB}: {hint}",
                **self._where,
                limitBytes=self._most_bytes,
            )


def size_of(read: Execution | ExecutionRecord) -> PageSize:
    """Measure about what the output and results of one execution take."""
    shown = sum(_size(value) for each in read.results for value in each.bundle.values())
    return PageSize(1, len(read.stdout) + len(read.stderr) + shown)


def _size(value: JSON) -> int:
    return len(value) if isinstance(value, str) else len(json.dumps(value))
