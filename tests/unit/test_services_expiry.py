"""When a running sandbox is due."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.expiry import Expiry, expiry

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a moment so long after the start."""
    return START + timedelta(seconds=seconds)


def due(
    *,
    active: float | None = None,
    busy: bool = False,
    idle_timeout: float = 3600,
    lifetime: float = 86_400,
) -> Expiry:
    """Ask for a sandbox that was started at START."""
    return expiry(
        started_at=START,
        last_active_at=None if active is None else at(active),
        busy=busy,
        idle_timeout_seconds=idle_timeout,
        lifetime_seconds=lifetime,
    )


def test_idleness_counts_from_the_end_of_the_last_operation() -> None:
    """An operation that ended after 10 s moves the end by 10 s."""
    assert due(active=10) == Expiry(at(3610), "idle for 3600 s")


def test_a_sandbox_that_was_never_used_is_idle_from_its_start() -> None:
    """Neither no use nor one of an earlier life counts."""
    assert due() == due(active=-5000) == Expiry(at(3600), "idle for 3600 s")


def test_use_is_not_idle() -> None:
    """Whatever runs keeps the idle time-out away, but not the lifetime."""
    assert due(busy=True, idle_timeout=1) == Expiry(at(86_400), "reached its lifetime of 86400 s")


def test_use_does_not_move_the_lifetime() -> None:
    """Activity just before the end of the lifetime changes nothing."""
    assert due(active=86_399).at == at(86_400)


def test_reasons_show_fractions_as_they_were_given() -> None:
    """1.5 s is 1.5 s."""
    assert due(idle_timeout=1.5).reason == "idle for 1.5 s"


@given(
    active=st.floats(0, 1e6), idle=st.floats(1, 1e6), lifetime=st.floats(1, 1e6), busy=st.booleans()
)
def test_nothing_outlives_its_lifetime(
    active: float, idle: float, lifetime: float, *, busy: bool
) -> None:
    """Whatever the figures, the end is never after the lifetime's."""
    ends = due(active=active, busy=busy, idle_timeout=idle, lifetime=lifetime)

    assert START <= ends.at <= at(lifetime) + timedelta(microseconds=1)
