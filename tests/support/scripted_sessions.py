"""One session of the scripted executor: executions that do as they are told."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from services.executor.errors import SessionGoneError
from services.executor.messages import (
    Collected,
    Event,
    EventBatch,
    ExecutionKind,
    ExecutionRecord,
    ExecutionStatus,
    Finished,
    InstalledPackage,
    Output,
    OutputStream,
    Queued,
    Started,
)

HOLD = "hold"


@dataclass
class ScriptedExecution:
    """An execution, its events and its record."""

    record: ExecutionRecord
    events: list[Event] = field(default_factory=list)


class ScriptedSession:
    """What an actor keeps."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.created_at = time.time()
        self.last_active_at = self.created_at
        self.executions: dict[str, ScriptedExecution] = {}
        self.acknowledged: set[str] = set()
        self.off_record: set[str] = set()
        """Given before their record was written, and not asked for since."""
        self.packages: tuple[InstalledPackage, ...] = ()
        self.packages_version = 0
        self.stopped_reason: str | None = None
        self.failed = False
        self.files: dict[str, bytes] = {}
        self.staged: dict[str, bytes] = {}
        self.dead = False
        self._changed = asyncio.Event()

    def change(self) -> None:
        """Wake all who wait."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for a change; False where none came. Raises `SessionGoneError`."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        if self.dead:
            raise SessionGoneError("The actor died.")
        return True

    def die(self) -> tuple[ExecutionRecord, ...]:
        """End everything, and return what nobody has acknowledged."""
        for execution in self.unended():
            self.finish(execution, ExecutionStatus.LOST)
        self.dead = True
        self.off_record.clear()
        self.change()
        return self._unacknowledged()

    def unended(self) -> Sequence[ScriptedExecution]:
        """Return what runs."""
        return [each for each in self.executions.values() if not each.record.status.ended]

    def submit(self, name: str, kind: ExecutionKind, code: str) -> EventBatch:
        """Run the code, or attach."""
        if name not in self.executions:
            execution = ScriptedExecution(_running(name, kind))
            self.executions[name] = execution
            now = time.time()
            execution.events += [Queued(1, now, 0), Started(2, now)]
            if code != HOLD:
                execution.events.append(Output(3, now, OutputStream.STDOUT, code))
                execution.record = replace(execution.record, stdout=code)
                self.finish(execution, ExecutionStatus.SUCCEEDED)
        execution = self.executions[name]
        return _batch(execution, 0)

    def install(self, name: str, requirements: Sequence[str]) -> EventBatch:
        """Have every name at version 1."""
        batch = self.submit(name, ExecutionKind.INSTALL, "installed")
        self.packages += tuple(InstalledPackage(each, "1") for each in requirements)
        self.packages_version += 1
        self.change()
        return batch

    def finish(self, execution: ScriptedExecution, status: ExecutionStatus) -> None:
        """End an execution."""
        now, seq = time.time(), len(execution.events) + 1
        code = 0 if status is ExecutionStatus.SUCCEEDED else 1
        execution.events.append(Finished(seq, now, status, code, 1.0, interpreter_restarted=False))
        execution.record = replace(
            execution.record,
            status=status,
            exit_code=code,
            finished_at=now,
            duration_ms=1.0,
            last_seq=seq,
        )
        self.last_active_at = now
        self.change()

    async def read(
        self, execution: ScriptedExecution, after: int, wait_seconds: float
    ) -> EventBatch:
        """Wait for events after `after`."""
        while True:
            batch = _batch(execution, after)
            if batch.events or batch.ended or not await self.wait(wait_seconds):
                return batch

    async def collect(
        self, acknowledged: Collection[str], packages_version: int, wait_seconds: float
    ) -> Collected:
        """Wait for something new to record."""
        self.acknowledged |= set(acknowledged)
        while not self._news(packages_version) and wait_seconds:
            if not await self.wait(wait_seconds):
                break
        return Collected(
            session_id=self.session_id,
            ended=self._unacknowledged(),
            packages=self.packages if packages_version < self.packages_version else None,
            packages_version=self.packages_version,
            last_active_at=self.last_active_at,
            busy=bool(self.unended()),
            stopped_reason=self.stopped_reason,
            failed=self.failed,
        )

    def _news(self, packages_version: int) -> bool:
        return bool(
            self._unacknowledged()
            or packages_version < self.packages_version
            or self.stopped_reason is not None
        )

    def _unacknowledged(self) -> tuple[ExecutionRecord, ...]:
        return tuple(
            each.record
            for name, each in self.executions.items()
            if each.record.status.ended and name not in self.acknowledged | self.off_record
        )


def _batch(execution: ScriptedExecution, after: int) -> EventBatch:
    events = tuple(event for event in execution.events if event.seq > after)
    return EventBatch(execution.record.execution_id, events, execution.record.status.ended)


def _running(name: str, kind: ExecutionKind) -> ExecutionRecord:
    return ExecutionRecord(
        execution_id=name,
        kind=kind,
        status=ExecutionStatus.RUNNING,
        exit_code=None,
        stdout="",
        stderr="",
        output_truncated=False,
        results=(),
        error=None,
        execution_count=1,
        created_at=time.time(),
        started_at=time.time(),
        finished_at=None,
        duration_ms=None,
        last_seq=2,
        interpreter_restarted=False,
    )
