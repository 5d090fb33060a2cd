"""One page's worth of rows, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

type Position = tuple[datetime, UUID]
"""Where a page ends: a row's `created_at` and `id`."""


@dataclass(frozen=True, slots=True)
class Slice[R]:
    """Rows after a position, at most as many as asked for."""

    rows: Sequence[R]
    has_more: bool
    """Whether there are older ones."""

    @classmethod
    def of(cls, rows: Sequence[R], first: int) -> "Slice[R]":
        """Make one of what a query found that was asked for one more than `first`."""
        return cls(rows[:first], len(rows) > first)
