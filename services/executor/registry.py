"""The executions that a session remembers, within bounds, and what of them is unrecorded."""

import asyncio
from collections.abc import Collection
from itertools import islice

from services.executor.errors import QueueFullError, UnknownExecutionError
from services.executor.execution import Execution
from services.executor.messages import ExecutionKind, ExecutionRecord

KEPT = 64
"""Ended and recorded executions whose events can still be read."""
RECORDED_BYTES = 64 * 1024 * 1024
"""What the records of those take at the most."""
UNRECORDED = 1000
"""Ended executions that wait for a recorder; over this, the session takes no more."""
UNRECORDED_BYTES = 128 * 1024 * 1024
ENDED_EVENTS_BYTES = 32 * 1024 * 1024
"""Events of ended executions together, for readers that come late."""
BATCH = 32
OFF_RECORD_SECONDS = 60.0
"""For so long one that nobody has asked for is not recorded: its record is being written, or its
caller has died. Where a record takes longer, the reconciler finds its end missing."""
AGAIN_SECONDS = 1.0
"""After which a record that has changed is given again; each time after twice as long."""
MOST_AGAIN_SECONDS = 60.0
MOST_DOUBLINGS = 6
"""Which reach that; after days of printing the power would be beyond a float."""


class Registry:
    """Executions by id. An ended one is kept until it is recorded, and a while longer."""

    def __init__(self) -> None:
        """Begin with none."""
        self.news = asyncio.Event()
        self.count = 0
        self._known: dict[str, Execution] = {}
        self._unrecorded: dict[str, int] = {}
        """Changes of each ended execution that a recorder was told of; -1 for none."""
        self._due: dict[str, float] = {}
        """When those that are not to be given yet are to be."""
        self._off_record: set[str] = set()
        """Of which it is not known yet whether they are on the record."""

    def find(self, execution_id: str, *, on_record: bool = True) -> Execution | None:
        """Return the execution, None where it is not known.

        Who asks has its id from the record, but for who gives it, perhaps once more.
        """
        if on_record and execution_id in self._off_record:
            self._off_record.discard(execution_id)
            if self._due.pop(execution_id, None) is not None:
                self.news.set()
        return self._known.get(execution_id)

    def get(self, execution_id: str) -> Execution:
        """Return the execution. Raises `UnknownExecutionError`."""
        execution = self.find(execution_id)
        if execution is None:
            raise UnknownExecutionError("The session does not know this execution (any more).")
        return execution

    def add(self, execution: Execution, *, on_record: bool = True) -> None:
        """Remember an execution. Raises `QueueFullError` while too many are unrecorded.

        One that is not on the record yet is given to a recorder only once somebody has asked
        for it, or a while after its end.
        """
        weight = sum(self._known[known].weight for known in self._unrecorded)
        if len(self._unrecorded) >= UNRECORDED or weight > UNRECORDED_BYTES:
            raise QueueFullError(
                "Too many executions wait to be recorded: try again later.", limit=UNRECORDED
            )
        self._known[execution.id] = execution
        self.count += 1
        if not on_record:
            self._off_record.add(execution.id)

    def ended(self, execution: Execution) -> None:
        """Have the execution recorded, or forget it where no record is kept of its kind."""
        if execution.kind is ExecutionKind.TOOL:
            self._known.pop(execution.id, None)
            return
        self._unrecorded[execution.id] = -1
        self._shed_events()
        if execution.id in self._off_record:
            self._give_in(execution, OFF_RECORD_SECONDS)
        else:
            self.news.set()

    def _shed_events(self) -> None:
        """Let the oldest ended executions' events go once all together are too many."""
        total = 0
        for execution in reversed(self._known.values()):
            if execution.ended.is_set():
                total += execution.log.weight
                if total > ENDED_EVENTS_BYTES:
                    execution.log.shrink()

    def changed(self, execution: Execution) -> None:
        """Have an ended execution recorded again: output came after its end."""
        if execution.kind is ExecutionKind.TOOL or execution.id not in self._known:
            return
        if execution.id not in self._unrecorded:
            self._unrecorded[execution.id] = -1
            self._put_off(execution)

    def _put_off(self, execution: Execution) -> None:
        """Give a record again later, and ever later: a thread may print for hours."""
        doublings = min(execution.recordings, MOST_DOUBLINGS)
        seconds = min(AGAIN_SECONDS * 2**doublings, MOST_AGAIN_SECONDS)
        execution.recordings += 1
        self._give_in(execution, seconds)

    def _give_in(self, execution: Execution, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._due[execution.id] = loop.time() + seconds
        loop.call_later(seconds, self.news.set)

    def unrecorded(self) -> tuple[ExecutionRecord, ...]:
        """Return some ended executions that nobody has acknowledged, the oldest first."""
        now = asyncio.get_running_loop().time()
        due = (known for known in self._unrecorded if self._due.get(known, now) <= now)
        batch = list(islice(due, BATCH))
        for execution_id in batch:
            self._unrecorded[execution_id] = self._known[execution_id].changes
        return tuple(self._known[execution_id].record() for execution_id in batch)

    def all_unrecorded(self) -> tuple[ExecutionRecord, ...]:
        """Return every ended execution that nobody has acknowledged."""
        return tuple(self._known[execution_id].record() for execution_id in self._unrecorded)

    def acknowledge(self, execution_ids: Collection[str]) -> None:
        """Forget what is recorded, save where it has changed since it was given."""
        for execution_id in execution_ids:
            given = self._unrecorded.get(execution_id)
            if given is None:
                continue
            execution = self._known[execution_id]
            if given == execution.changes:
                del self._unrecorded[execution_id]
                self._due.pop(execution_id, None)
                self._off_record.discard(execution_id)
            elif given >= 0:
                self._unrecorded[execution_id] = -1
                self._put_off(execution)
        self._trim()

    def _trim(self) -> None:
        recorded = [
            execution
            for execution in self._known.values()
            if execution.ended.is_set() and execution.id not in self._unrecorded
        ]
        weight = 0
        for kept, execution in enumerate(reversed(recorded)):
            weight += execution.weight
            if kept >= KEPT or (kept and weight > RECORDED_BYTES):
                del self._known[execution.id]
