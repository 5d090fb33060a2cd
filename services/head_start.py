"""Code on its way to its session while its record is still being written.

The record takes a quarter of the time to the first output. Nothing is told of an execution before
it is on the record; where that comes to nothing, the execution is interrupted.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from db.repositories.executions import Begun
from services.entities import SandboxId, UserId, Viewer
from services.execution_checks import CodeWork
from services.executor.interface import Executor
from services.executor.messages import EventBatch
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
        self.session_id = session_id
        self._executor = executor
        self._name = str(execution_id)
        request = work.request(self._name, reader_id, on_record=False)
        loop = asyncio.get_running_loop()
        self._batch = asyncio.Task(
            executor.execute(session_id, request), loop=loop, eager_start=True
        )

    async def batch(self) -> EventBatch:
        """Return its first events. Raises what `Executor.execute` does."""
        return await self._batch

    async def take_back(self) -> None:
        """Have it run no more: there will be no record of it."""
        try:
            await self._batch
            await self._executor.interrupt(self.session_id, self._name)
        except Exception as error:  # noqa: BLE001 - why there is no record is the error to tell
            _log.info("execution_not_taken_back", execution=self._name, error=repr(error))


class HeadStart:
    """Says to whom code may be given so, by what this process was told last.

    That is where the same user's code ran in that session before, the session and the database
    are there, and the user has less than half of the executions that the limit allows: so the
    record is as good as sure to be written. Code with an id of its client's may have run
    already, which the record alone knows.
    """

    def __init__(self, transactions: Transactions, executor: Executor, most_unended: int) -> None:
        self._transactions = transactions
        self._executor = executor
        self._most_unended = most_unended
        self._users: OrderedDict[UserId, _Known] = OrderedDict()

    def give(
        self,
        viewer: Viewer,
        sandbox_id: SandboxId,
        execution_id: UUID,
        work: CodeWork,
        reader_id: str,
    ) -> Given | None:
        """Give the code to its session now; None where the record is to be waited for."""
        known = self._users.get(viewer.id)
        session_id = None if known is None else known.sessions.get(sandbox_id)
        if (
            known is None
            or session_id is None
            or 2 * (known.unended + 1) > self._most_unended
            or not self._transactions.at_hand
            or not self._executor.is_near(session_id)
        ):
            return None
        known.unended += 1
        return Given(self._executor, session_id, execution_id, work, reader_id)

    def learn(self, viewer: Viewer, sandbox_id: SandboxId, begun: Begun) -> None:
        """Take note of what a record says."""
        known = self._users.setdefault(viewer.id, _Known())
        self._users.move_to_end(viewer.id)
        if len(self._users) > MOST_USERS:
            self._users.popitem(last=False)
        known.unended = begun.unended
        if not begun.added or begun.session_id is None:
            known.sessions.pop(sandbox_id, None)
            return
        if len(known.sessions) >= MOST_SESSIONS:
            known.sessions.clear()
        known.sessions[sandbox_id] = begun.session_id

    def forget(self, viewer: Viewer) -> None:
        """Wait for the record the next time: it could not be written."""
        self._users.pop(viewer.id, None)
