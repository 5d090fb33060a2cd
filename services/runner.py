"""Runs what is ordered: submits it for good, then reads it live or waits for its end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from uuid import uuid4

from services.asker import Asker, Reading
from services.conversion import execution_of
from services.entities import Execution, ExecutionUpdate, Viewer
from services.errors import NotFoundError
from services.executor.interface import Executor
from services.feed import Feed
from services.operations import Operations
from services.submitter import Order, Submitted, Submitter


class Runner:
    """Both ways of running an order: as a stream and as one answer."""

    def __init__(
        self,
        executor: Executor,
        submitter: Submitter,
        asker: Asker,
        feed: Feed,
        operations: Operations,
    ) -> None:
        self._executor = executor
        self._submitter = submitter
        self._asker = asker
        self._feed = feed
        self._operations = operations

    async def stream(
        self, viewer: Viewer, order: Order, after: int
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """Submit and yield the events; `after` counts on attaching alone."""
        reading = await self._submit(viewer, order, uuid4().hex, after)
        async with aclosing(self._feed.read(viewer, reading)) as updates:
            async for update in updates:
                yield update

    async def run(self, viewer: Viewer, order: Order) -> Execution:
        """Submit and wait for the end."""
        # Nobody reads along, so that no output waits for a reader.
        reading = await self._submit(viewer, order, "", 0)
        submission = reading.submission
        wait = partial(self._executor.wait_ended, submission.session_id, str(submission.id))
        record = await self._asker.ask(viewer, reading, wait)
        if record is not None:
            return execution_of(submission, record)
        _, execution = await self._asker.last_record(viewer, submission)
        if execution is None:
            raise NotFoundError("The sandbox was deleted while the execution ran.")
        return execution

    async def _submit(self, viewer: Viewer, order: Order, reader_id: str, after: int) -> Reading:
        # A client that leaves now has ordered all the same: on the record means handed over.
        submission = self._operations.begin(self._submitter.submit(viewer, order, reader_id))
        try:
            return _reading(await asyncio.shield(submission), reader_id, after)
        except asyncio.CancelledError:
            submission.add_done_callback(partial(self._leave_unread, reader_id))
            raise

    def _leave_unread(self, reader_id: str, submission: asyncio.Task[Submitted]) -> None:
        """Tell the session that nobody comes to read, which it would wait for."""
        if not submission.cancelled() and submission.exception() is None:
            self._feed.leave(_reading(submission.result(), reader_id, 0))


def _reading(submitted: Submitted, reader_id: str, after: int) -> Reading:
    return Reading(
        submission=submitted.submission,
        reader_id=reader_id,
        after=after if submitted.attached else 0,
        batch=submitted.batch,
        work=submitted.work,
    )
