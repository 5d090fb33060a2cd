"""Rows and records turned into entities: rows never leave the services."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from db.repositories.running import UnendedExecution
from db.tables import ExecutionRow, SandboxRow
from services.entities import (
    Execution,
    ExecutionId,
    ExecutionOutline,
    Sandbox,
    SandboxId,
    SandboxLimits,
    SandboxStats,
    SandboxStatus,
    UserId,
)
from services.executor.messages import (
    CodeError,
    ExecutionKind,
    ExecutionRecord,
    ExecutionStatus,
    SessionStats,
)
from services.expiry import expiry
from services.results import decode_error, decode_results
from services.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class ExecutionHandle:
    """What it takes to ask a session about an execution."""

    id: UUID
    session_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Submission:
    """What was settled when an execution was submitted, and no session can change."""

    id: ExecutionId
    sandbox_id: SandboxId
    owner_id: UserId
    session_id: str
    kind: ExecutionKind
    client_execution_id: str | None
    source: bytes
    created_at: datetime

    @property
    def handle(self) -> ExecutionHandle:
        """What it takes to ask the session about it."""
        return ExecutionHandle(self.id, self.session_id, self.created_at)


def moment(seconds: float) -> datetime:
    """Return the time of so many seconds since the epoch, as messages have it."""
    return datetime.fromtimestamp(seconds, UTC)


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def sandbox_of(row: SandboxRow, settings: ServiceSettings, *, busy: bool) -> Sandbox:
    """Return the sandbox; `busy` says whether anything of its is queued or running."""
    limits = settings.sessions.limits
    return Sandbox(
        id=SandboxId(row.id),
        owner_id=UserId(row.owner_id),
        name=row.name,
        status=SandboxStatus(row.status),
        status_reason=row.status_reason,
        image=row.image,
        metadata=row.labels,
        environment_variable_names=tuple(row.environment_names),
        limits=SandboxLimits(
            memory_bytes=limits.memory_bytes,
            cpus=limits.cpus,
            processes=limits.processes,
            disk_bytes=limits.disk_bytes,
            execution_timeout_seconds=settings.times.max_execution_timeout_seconds,
            idle_timeout_seconds=row.idle_timeout_seconds,
            lifetime_seconds=row.lifetime_seconds,
        ),
        created_at=row.created_at,
        updated_at=row.updated_at,
        started_at=row.started_at,
        last_active_at=row.last_active_at,
        expires_at=_expires_at(row, busy=busy),
        session_id=row.session_id,
    )


def _expires_at(row: SandboxRow, *, busy: bool) -> datetime | None:
    if row.status != SandboxStatus.RUNNING or row.started_at is None:
        return None
    return expiry(
        started_at=row.started_at,
        last_active_at=row.last_active_at,
        busy=busy,
        idle_timeout_seconds=row.idle_timeout_seconds,
        lifetime_seconds=row.lifetime_seconds,
    ).at


def stats_of(stats: SessionStats) -> SandboxStats:
    """Return a session's figures as its sandbox's."""
    return SandboxStats(
        session_id=stats.session_id,
        execution_count=stats.execution_count,
        created_at=moment(stats.created_at),
        uptime_seconds=stats.uptime_seconds,
        container_status=stats.container_status,
        memory_used_bytes=stats.memory_used_bytes,
        cpu_seconds=stats.cpu_seconds,
        disk_used_bytes=stats.disk_used_bytes,
        processes=stats.processes,
    )


def handle_of(unended: UnendedExecution | ExecutionRow) -> ExecutionHandle:
    """Return what it takes to ask the session about an execution that has not ended."""
    return ExecutionHandle(unended.id, unended.session_id or "", unended.created_at)


def outline_of(row: ExecutionRow) -> ExecutionOutline:
    """Return what the database has of an execution; the row may lack what is large."""
    return ExecutionOutline(
        id=ExecutionId(row.id),
        sandbox_id=SandboxId(row.sandbox_id),
        owner_id=UserId(row.owner_id),
        kind=ExecutionKind(row.kind),
        client_execution_id=row.client_execution_id,
        status=ExecutionStatus(row.status),
        exit_code=row.exit_code,
        output_truncated=row.output_truncated,
        error=None if row.error is None else decode_error(row.error),
        execution_count=row.execution_count,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        duration_ms=row.duration_ms,
        last_seq=row.last_seq,
    )


def brought_up(outline: ExecutionOutline, record: ExecutionRecord) -> ExecutionOutline:
    """Return the outline with how far the session saw it."""
    return replace(
        outline,
        status=record.status,
        exit_code=record.exit_code,
        output_truncated=record.output_truncated,
        error=record.error,
        execution_count=record.execution_count,
        started_at=_moment_or_none(record.started_at),
        finished_at=_moment_or_none(record.finished_at),
        duration_ms=record.duration_ms,
        last_seq=record.last_seq,
    )


def submission_of(row: ExecutionRow) -> Submission:
    """Return what a row says of how its execution was submitted."""
    return Submission(
        id=ExecutionId(row.id),
        sandbox_id=SandboxId(row.sandbox_id),
        owner_id=UserId(row.owner_id),
        session_id=row.session_id or "",
        kind=ExecutionKind(row.kind),
        client_execution_id=row.client_execution_id,
        source=row.code,
        created_at=row.created_at,
    )


def record_of(row: ExecutionRow) -> ExecutionRecord:
    """Return what the database has of an execution, as a session would say it."""
    return ExecutionRecord(
        execution_id=str(row.id),
        kind=ExecutionKind(row.kind),
        status=ExecutionStatus(row.status),
        exit_code=row.exit_code,
        stdout=row.stdout.decode(errors="replace"),
        stderr=row.stderr.decode(errors="replace"),
        output_truncated=row.output_truncated,
        results=decode_results(row.results),
        error=None if row.error is None else decode_error(row.error),
        execution_count=row.execution_count,
        created_at=row.created_at.timestamp(),
        started_at=row.started_at.timestamp() if row.started_at else None,
        finished_at=row.finished_at.timestamp() if row.finished_at else None,
        duration_ms=row.duration_ms,
        last_seq=row.last_seq,
        interpreter_restarted=row.interpreter_restarted,
    )


def execution_of(submission: Submission, record: ExecutionRecord) -> Execution:
    """Return the execution: its submission, and how far a session or the database saw it."""
    return Execution(
        id=submission.id,
        sandbox_id=submission.sandbox_id,
        owner_id=submission.owner_id,
        kind=submission.kind,
        client_execution_id=submission.client_execution_id,
        code=submission.source.decode(errors="replace"),
        status=record.status,
        exit_code=record.exit_code,
        stdout=record.stdout,
        stderr=record.stderr,
        output_truncated=record.output_truncated,
        results=record.results,
        error=record.error,
        execution_count=record.execution_count,
        created_at=submission.created_at,
        started_at=_moment_or_none(record.started_at),
        finished_at=_moment_or_none(record.finished_at),
        duration_ms=record.duration_ms,
        last_seq=record.last_seq,
    )


def lost_error(reason: str) -> CodeError:
    """Return the error of an execution that was LOST, in words."""
    return CodeError(name="SandboxLost", value=reason, traceback=f"SandboxLost: {reason}")
