"""The status machine, and operations on it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from db.tables import SandboxRow
from services.entities import TRANSITIONS, SandboxStatus
from services.transitions import Operation, before, is_held, is_stale, operation_id_of

SOON = timedelta(minutes=1)


def a_row(status: SandboxStatus, deadline: timedelta | None = None) -> SandboxRow:
    """Return a row, under an operation where a deadline is given."""
    return SandboxRow(
        id=uuid4(),
        owner_id=uuid4(),
        status=status,
        image="default",
        labels={},
        environment_names=[],
        idle_timeout_seconds=1,
        lifetime_seconds=1,
        created_at=datetime.now(UTC),
        updated_at=datetime.now(UTC),
        operation_id=None if deadline is None else uuid4(),
        operation_deadline=None if deadline is None else datetime.now(UTC) + deadline,
    )


def test_only_what_rests_can_be_started() -> None:
    """A start begins where nothing runs."""
    assert before(SandboxStatus.STARTING) == {SandboxStatus.STOPPED, SandboxStatus.FAILED}


def test_everything_but_a_stop_itself_can_be_stopped() -> None:
    """A stop cuts a start short, too."""
    assert before(SandboxStatus.STOPPING) == set(SandboxStatus) - {SandboxStatus.STOPPING}


def test_running_comes_after_starting_alone() -> None:
    """No status is RUNNING without a start."""
    assert before(SandboxStatus.RUNNING) == {SandboxStatus.STARTING}


def test_every_status_has_a_way_out() -> None:
    """The table is complete, and no status is a dead end."""
    assert set(TRANSITIONS) == set(SandboxStatus)
    assert all(TRANSITIONS.values())


@pytest.mark.parametrize("status", SandboxStatus)
def test_an_operation_before_its_deadline_holds_the_row(status: SandboxStatus) -> None:
    """Whatever the status is."""
    row = a_row(status, SOON)

    assert is_held(row)
    assert not is_stale(row)


@pytest.mark.parametrize("status", SandboxStatus)
def test_an_operation_after_its_deadline_is_stale(status: SandboxStatus) -> None:
    """Its process is gone, so that anybody may take it."""
    row = a_row(status, -SOON)

    assert not is_held(row)
    assert is_stale(row)


def test_a_passing_status_without_an_operation_is_stale() -> None:
    """Nobody else would ever end it."""
    stale = {status for status in SandboxStatus if is_stale(a_row(status))}

    assert stale == {SandboxStatus.STARTING, SandboxStatus.STOPPING}


def test_a_row_under_no_operation_has_no_operation_id() -> None:
    """Asking for it is a fault of ours."""
    with pytest.raises(ValueError, match="No operation"):
        operation_id_of(a_row(SandboxStatus.STOPPED))


def test_an_operation_ends_after_its_work_may_take() -> None:
    """There is time left to write how it ended."""
    assert Operation.of(60).deadline > datetime.now(UTC) + timedelta(seconds=70)
