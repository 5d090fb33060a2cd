"""The status machine as the database's compare-and-set needs it, and operations on it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from db.tables import SandboxRow
from services.entities import TRANSITIONS, SandboxStatus

DEADLINE_MARGIN_SECONDS = 15.0
"""What an operation has beyond its time-out to write how it ended."""

PASSING = frozenset({SandboxStatus.STARTING, SandboxStatus.STOPPING})
"""The statuses that only an operation ends."""


def before(status: SandboxStatus) -> frozenset[SandboxStatus]:
    """Return the statuses that `status` may follow."""
    return frozenset(each for each, allowed in TRANSITIONS.items() if status in allowed)


@dataclass(frozen=True, slots=True)
class Operation:
    """The right to change one sandbox until the deadline; after it, anybody may take it."""

    id: UUID
    deadline: datetime

    @classmethod
    def of(cls, seconds: float) -> "Operation":
        """Make one whose work takes at most so many seconds."""
        span = timedelta(seconds=seconds + DEADLINE_MARGIN_SECONDS)
        return cls(uuid4(), datetime.now(UTC) + span)


def is_held(row: SandboxRow) -> bool:
    """Whether an operation is at work on this row just now."""
    return (
        row.operation_id is not None
        and row.operation_deadline is not None
        and row.operation_deadline >= datetime.now(UTC)
    )


def is_stale(row: SandboxRow) -> bool:
    """Whether this row waits for an operation that nobody is at work on any more."""
    return not is_held(row) and (row.operation_id is not None or row.status in PASSING)


def operation_id_of(row: SandboxRow) -> UUID:
    """Return the operation that the row is under. Raises `ValueError` where there is none."""
    if row.operation_id is None:
        raise ValueError(f"No operation is at work on sandbox {row.id}.")
    return row.operation_id
