"""When a running sandbox is stopped: one function, no clock of its own."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Expiry:
    """The moment at which a sandbox is due, and the words for its `statusReason`."""

    at: datetime
    reason: str


def expiry(
    *,
    started_at: datetime,
    last_active_at: datetime | None,
    busy: bool,
    idle_timeout_seconds: float,
    lifetime_seconds: float,
) -> Expiry:
    """Return what ends a RUNNING sandbox first.

    Idleness counts from the end of the last operation, and from the start where there was
    none; while anything is queued or running there is none. Age counts from `started_at`.
    """
    by_age = Expiry(
        started_at + timedelta(seconds=lifetime_seconds),
        f"reached its lifetime of {_seconds(lifetime_seconds)} s",
    )
    if busy:
        return by_age
    idle_since = max(started_at, last_active_at or started_at)
    by_idleness = Expiry(
        idle_since + timedelta(seconds=idle_timeout_seconds),
        f"idle for {_seconds(idle_timeout_seconds)} s",
    )
    return min(by_age, by_idleness, key=lambda each: each.at)


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:g}"
