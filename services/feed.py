"""One reader's way through the events of one execution."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial

from services.asker import Asker, Reading
from services.conversion import Submission, execution_of
from services.entities import Execution, ExecutionUpdate, Viewer
from services.errors import ServiceUnavailableError
from services.execution_events import closing_events, is_told
from services.executor.errors import ClusterUnavailableError, ExecutorError
from services.executor.interface import Executor
from services.executor.messages import EventBatch, Finished, Output
from services.ledger import Ledger
from services.operations import Operations

FEW_EVENTS = 4
FEW_CHARACTERS = 4096
SILENCE_SECONDS = 60.0
"""For a node that does not answer to come back, or for Ray to know that it is gone: half of it."""
PAUSE_SECONDS = 0.5


class Feed:
    """Reads events from the session as long as it has them, and the end from the record."""

    def __init__(
        self, executor: Executor, asker: Asker, ledger: Ledger, operations: Operations
    ) -> None:
        self._executor = executor
        self._asker = asker
        self._ledger = ledger
        self._operations = operations

    async def read(self, viewer: Viewer, reading: Reading) -> AsyncGenerator[ExecutionUpdate, None]:
        """Yield every event after the reader's place, the last with the complete record.

        Raises a `ServiceError` where the cluster or the database does not answer; reading
        may go on from the last event then.
        """
        submission, after, ended = reading.submission, reading.after, False
        try:
            async with aclosing(self._batches(viewer, reading)) as batches:
                async for batch in batches:
                    # The last event may be the reader's last breath: no need to leave after it.
                    ended = batch.ended
                    for event in batch.events:
                        if event.seq <= after:
                            continue
                        after = event.seq
                        execution = None
                        if isinstance(event, Finished):
                            execution = await self._complete(viewer, submission, batch)
                        yield ExecutionUpdate(submission.id, event, execution)
                    if ended:
                        return
        finally:
            if not ended:
                self.leave(reading)
        async for update in self._rest(viewer, reading, after):
            yield update

    async def _batches(self, viewer: Viewer, reading: Reading) -> AsyncGenerator[EventBatch, None]:
        """Yield what the session has; the next batch is on its way while one is shown."""
        batch, after = reading.batch, reading.after
        ahead: asyncio.Task[EventBatch | None] | None = None
        loop = asyncio.get_running_loop()
        try:
            while batch is not None or (
                batch := await (ahead or self._next(viewer, reading, after))
            ):
                after = max(after, batch.events[-1].seq) if batch.events else after
                ahead = None
                if not batch.ended:
                    # Little is shown before more is asked for; a flood is asked for meanwhile.
                    ask = self._next(viewer, reading, after)
                    ahead = asyncio.Task(ask, loop=loop, eager_start=not _is_small(batch))
                yield batch
                if batch.ended:
                    return
                batch = None
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def _next(self, viewer: Viewer, reading: Reading, after: int) -> EventBatch | None:
        submission = reading.submission
        return await self._asker.ask(
            viewer,
            reading,
            partial(self._read, submission, after, reading.reader_id),
        )

    async def _read(self, submission: Submission, after: int, reader_id: str) -> EventBatch:
        """Read what comes next; a session that can't be reached is asked again, for a while."""
        end: float | None = None
        while True:
            try:
                return await self._executor.read(
                    submission.session_id, str(submission.id), after, reader_id=reader_id
                )
            except ClusterUnavailableError:
                now = asyncio.get_running_loop().time()
                end = now + SILENCE_SECONDS if end is None else end
                if now >= end:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def _complete(
        self, viewer: Viewer, submission: Submission, batch: EventBatch
    ) -> Execution | None:
        if batch.record is not None:
            return execution_of(submission, batch.record)
        return await self._asker.complete(viewer, submission)

    async def _rest(
        self, viewer: Viewer, reading: Reading, after: int
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """Yield what the record has: the session has nothing to tell any more."""
        submission = reading.submission
        record, execution = await self._asker.last_record(viewer, submission)
        # Who was told something just now was not told of the end.
        if after == reading.after and is_told(record, after):
            return
        for event in closing_events(record, after):
            if not isinstance(event, Finished) or execution is None:
                yield ExecutionUpdate(submission.id, event)
                continue
            if event.seq > record.last_seq:
                await self._ledger.raise_last_seq(submission.id, event.seq)
            yield ExecutionUpdate(submission.id, event, replace(execution, last_seq=event.seq))

    def leave(self, reading: Reading) -> None:
        """Tell the session that this reader asks no more."""
        # Not awaited: a reader that is cancelled goes at once.
        with suppress(ServiceUnavailableError):
            self._operations.begin(self._leave_session(reading))

    async def _leave_session(self, reading: Reading) -> None:
        submission = reading.submission
        with suppress(ExecutorError):  # nothing waits for a reader in a session that is gone
            await self._executor.leave(submission.session_id, str(submission.id), reading.reader_id)


def _is_small(batch: EventBatch) -> bool:
    return len(batch.events) <= FEW_EVENTS and all(
        len(event.text) <= FEW_CHARACTERS for event in batch.events if isinstance(event, Output)
    )
