"""The end of an execution for readers whose session has nothing to tell any more."""

from collections.abc import Iterator
from datetime import UTC, datetime

from db.repositories.running import LOST_EXIT_CODE
from services.conversion import Submission, lost_error
from services.executor.messages import (
    Event,
    ExecutionRecord,
    ExecutionStatus,
    Finished,
    Gap,
)
from services.limits import MAX_SEQ


def is_told(record: ExecutionRecord, after: int) -> bool:
    """Whether a reader at `after` has been told of the end.

    A record that was LOST unseen has its last number from a reader, who may have come less
    far than this one.
    """
    if not record.status.ended or not record.last_seq:
        return False
    unseen = record.status is ExecutionStatus.LOST and after > record.last_seq
    return after >= record.last_seq and not unseen


def closing_events(record: ExecutionRecord, after: int) -> Iterator[Event]:
    """Yield what a reader at `after` still has to be told: at most one gap, and the end.

    A record that was LOST unseen does not know how far its readers came: then the numbers
    go on from the reader's own.
    """
    after = min(after, MAX_SEQ - 2)
    last = record.last_seq or after + 2
    if after >= last:
        last = after + 1
    at = record.finished_at if record.finished_at is not None else datetime.now(UTC).timestamp()
    if last - 1 > after:
        yield Gap(seq=last - 1, at=at, from_seq=after + 1, dropped_bytes=0)
    yield Finished(
        seq=last,
        at=at,
        status=record.status,
        exit_code=LOST_EXIT_CODE if record.exit_code is None else record.exit_code,
        duration_ms=record.duration_ms or 0.0,
        interpreter_restarted=record.interpreter_restarted,
    )


def lost_record(submission: Submission, reason: str) -> ExecutionRecord:
    """Return the end of an execution whose record is gone, with its sandbox."""
    now = datetime.now(UTC).timestamp()
    return ExecutionRecord(
        execution_id=str(submission.id),
        kind=submission.kind,
        status=ExecutionStatus.LOST,
        exit_code=LOST_EXIT_CODE,
        stdout="",
        stderr="",
        output_truncated=False,
        results=(),
        error=lost_error(reason),
        execution_count=None,
        created_at=submission.created_at.timestamp(),
        started_at=None,
        finished_at=now,
        duration_ms=0.0,
        last_seq=0,
        interpreter_restarted=True,
    )
