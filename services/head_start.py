"""Code on its way to its session while its record is still being written.

The record takes a quarter of the time to the first output. Nothing is told of an execution before
it is on the record; where that comes to nothing, the execution is interrupted.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from db.repositories.executions import Begun
from services.entities import SandboxId, UserId, Viewer
from services.errors import ServiceUnavailableError
from services.execution_checks import CodeWork
from services.executor.errors import (
    ExecutorError,
    QueueFullError,
    SessionGoneError,
    UnknownExecutionError,
)
from services.executor.interface import Executor
from services.executor.messages import EventBatch
from services.operations import Operations
from services.transactions import Transactions

MOST_USERS = 10_000
"""Whoever was heard of least lately is forgotten, and so waits for the record again."""
MOST_SESSIONS = 1_000
"""Of one user's."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Known:
    """What the last records of a user's executions said."""

    unended: int = 0
    under_way: int = 0
    """How many have been given whose record is still being written."""
    sessions: dict[SandboxId, str] = field(default_factory=dict)


class Given:
    """Code that a session has been given before its record was written."""

    def __init__(
        self,
        executor: Executor,
        session_id: str,
        execution_id: UUID,
        work: CodeWork,
        reader_id: str,
    ) -> None:
        """Give it at once."""
        self._executor = executor
        self._session_id = session_id
        self._execution_id = execution_id
        request = work.request(str(execution_id), reader_id, on_record=False)
        loop = asyncio.get_running_loop()
        self._batch = asyncio.Task(
            executor.execute(session_id, request), loop=loop, eager_start=True
        )
        self._batch.add_done_callback(_look)

    def is_on_record(self, begun: Begun) -> bool:
        """Whether this very execution is, in the session that was given it."""
        return (begun.execution_id, begun.session_id) == (self._execution_id, self._session_id)

    async def batch(self) -> EventBatch:
        """Return its first events. Raises what `Executor.execute` does."""
        batch = await self._batch
        if batch.ended:
            # Nobody reads on, and so asks for it: its record is complete none the less.
            with suppress(ExecutorError):
                await self._executor.leave(self._session_id, str(self._execution_id), "")
        return batch

    async def take_back(self) -> None:
        """Have it run no more: there will be no record of it."""
        try:
            await self._batch
        except (QueueFullError, SessionGoneError):
            return
        except ExecutorError as error:
            _log.warning("execution_not_known_to_be_given", reason=error.message)
        try:
            await self._executor.interrupt(self._session_id, str(self._execution_id))
        except (SessionGoneError, UnknownExecutionError):
            return
        except ExecutorError as error:
            _log.warning("execution_not_taken_back", reason=error.message)


def _look(batch: asyncio.Task[EventBatch]) -> None:
    """Tell asyncio that somebody looked, for as the process ends nobody may."""
    if not batch.cancelled():
        batch.exception()


class HeadStart:
    """Says to whom code may be given so, by what this process was told last.

    That is where the same user's code ran in that session before, the session and the database
    are there, and the user has less than half of the executions that the limit allows: so the
    record is as good as sure to be written. Code with an id of its client's may have run
    already, which the record alone knows.
    """

    def __init__(
        self,
        transactions: Transactions,
        executor: Executor,
        operations: Operations,
        most_unended: int,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._operations = operations
        self._most_unended = most_unended
        self._users: OrderedDict[UserId, _Known] = OrderedDict()
        self._waiting: Counter[tuple[UserId, SandboxId]] = Counter()

    @contextmanager
    def waiting(self, viewer: Viewer, sandbox_id: SandboxId) -> Iterator[None]:
        """Count one more that waits for its record: what comes after it is not to overtake it."""
        key = viewer.id, sandbox_id
        self._waiting[key] += 1
        try:
            yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    def give(
        self,
        viewer: Viewer,
        sandbox_id: SandboxId,
        execution_id: UUID,
        work: CodeWork,
        reader_id: str,
    ) -> Given | None:
        """Give the code to its session now; None where the record is to be waited for.

        To be asked within `waiting`.
        """
        known = self._users.get(viewer.id)
        session_id = None if known is None else known.sessions.get(sandbox_id)
        if (
            known is None
            or session_id is None
            or self._waiting[viewer.id, sandbox_id] > 1
            or 2 * (known.unended + known.under_way) >= self._most_unended
            or not self._transactions.at_hand
            or not self._executor.is_near(session_id)
        ):
            return None
        known.under_way += 1
        return Given(self._executor, session_id, execution_id, work, reader_id)

    def learn(
        self, viewer: Viewer, sandbox_id: SandboxId, begun: Begun, given: Given | None
    ) -> Given | None:
        """Take note of what a record says; return what was given, unless it is taken back."""
        known = self._users.setdefault(viewer.id, _Known())
        self._users.move_to_end(viewer.id)
        if len(self._users) > MOST_USERS:
            self._users.popitem(last=False)
        known.unended = begun.unended + begun.added
        if begun.execution_id is None or begun.session_id is None:
            known.sessions.pop(sandbox_id, None)
        else:
            if len(known.sessions) >= MOST_SESSIONS:
                known.sessions.clear()
            known.sessions[sandbox_id] = begun.session_id
        if given is None:
            return None
        known.under_way = max(known.under_way - 1, 0)
        if given.is_on_record(begun):
            return given
        self._take_back(given)
        return None

    def fail(self, viewer: Viewer, sandbox_id: SandboxId, given: Given | None) -> None:
        """Take note that there is no record; the sandbox's next code waits for its own."""
        known = self._users.get(viewer.id)
        if known is not None:
            known.sessions.pop(sandbox_id, None)
            known.under_way = max(known.under_way - (given is not None), 0)
        if given is not None:
            self._take_back(given)

    def _take_back(self, given: Given) -> None:
        # Not awaited: the refusal is told at once, whatever the session does.
        with suppress(ServiceUnavailableError):
            self._operations.begin(given.take_back())
