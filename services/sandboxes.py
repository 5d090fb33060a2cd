"""Sandboxes: make, list, change, move through their life, and watch."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial

from db.repositories.operations import SandboxFields
from db.repositories.sandboxes import SandboxConditions, SandboxRepository, Usage
from db.tables import SandboxRow
from services.changes import ChangeFeed
from services.checks import check_sandbox_id
from services.conversion import stats_of
from services.creator import Creator
from services.cursors import check_page, encode_cursor
from services.entities import (
    NewSandbox,
    Page,
    Sandbox,
    SandboxChange,
    SandboxChanges,
    SandboxFilter,
    SandboxId,
    SandboxStats,
    SandboxStatus,
    Unset,
    Viewer,
    ViewerLimits,
    ViewerUsage,
)
from services.errors import NotFoundError, ServiceUnavailableError
from services.executor.errors import ExecutorError, SessionGoneError
from services.executor.interface import Executor
from services.lifecycle import Lifecycle
from services.losses import Losses
from services.nudges import Nudges
from services.operations import Operations
from services.sandbox_checks import (
    check_age,
    check_filter,
    check_idle_timeout,
    check_lifetime,
    check_metadata,
    check_name,
)
from services.sandbox_rows import NO_SANDBOX, entities_of, is_running, require_owner
from services.session_turns import SessionTurns
from services.settings import ServiceSettings, TimeSettings
from services.settler import Settler
from services.transactions import Transactions
from services.translate import from_executor

STATS_SECONDS = 10.0
"""How long a session may take to measure itself: its disk alone may take five."""
SETTLED_SECONDS = 2.0
"""How long the count of a viewer's executions waits for what their sessions say."""
SILENT = "The sandbox did not say in time how it is: try again."


class SandboxService:
    """What a viewer does with sandboxes.

    Operations go on where the client leaves, so that none leaves a half state behind.
    """

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        transactions: Transactions,
        executor: Executor,
        *,
        lifecycle: Lifecycle,
        creator: Creator,
        losses: Losses,
        settler: Settler,
        operations: Operations,
        settings: ServiceSettings,
        nudges: Nudges,
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._lifecycle = lifecycle
        self._creator = creator
        self._losses = losses
        self._settler = settler
        self._operations = operations
        self._settings = settings
        self._nudges = nudges
        self._changes = ChangeFeed(transactions, settings, nudges)

    async def get(self, viewer: Viewer, sandbox_id: str) -> Sandbox | None:
        """Return one; None where the viewer has none of this id."""
        found = await self.get_many(viewer, [check_sandbox_id(sandbox_id, "id")])
        return found[0] if found else None

    async def get_many(self, viewer: Viewer, ids: Collection[SandboxId]) -> Sequence[Sandbox]:
        """Return those that there are, in any order."""
        async with self._transactions.of(viewer) as session:
            rows = await SandboxRepository(session).get_many(ids)
            return await entities_of(session, rows, self._settings)

    async def page(
        self, viewer: Viewer, first: int, after: str | None, wanted: SandboxFilter
    ) -> Page[Sandbox]:
        """Return the viewer's sandboxes, newest first."""
        conditions = _conditions(wanted)
        position = check_page(first, after)
        async with self._transactions.of(viewer) as session:
            found = await SandboxRepository(session).page(conditions, first, position)
            items = await entities_of(session, found.rows, self._settings)
        return Page(
            items=items,
            cursors=[encode_cursor(row.created_at, row.id) for row in found.rows],
            has_next_page=found.has_more,
            has_previous_page=position is not None,
        )

    async def count(self, viewer: Viewer, wanted: SandboxFilter) -> int:
        """Count those that `page` would list."""
        conditions = _conditions(wanted)
        async with self._transactions.of(viewer) as session:
            return await SandboxRepository(session).count(conditions)

    async def create(self, viewer: Viewer, new: NewSandbox) -> Sandbox:
        """Make a sandbox, and start it where wanted; the same key again returns the first's.

        Raises `QuotaExceededError`; an error of the start has `sandboxId`.
        """
        prepared = self._creator.check(new)
        row = await self._operations.run(self._creator.create(viewer, prepared))
        return await self._entity(viewer, row)

    async def update(self, viewer: Viewer, sandbox_id: str, changes: SandboxChanges) -> Sandbox:
        """Change what is given; null clears a name and metadata, and brings defaults back.

        Nothing is changed where the lifetime would be over already.
        """
        name = check_sandbox_id(sandbox_id)
        fields = _fields(changes, self._settings.times)
        async with self._transactions.of(viewer) as session:
            sandboxes = SandboxRepository(session)
            row = await (sandboxes.update_fields(name, **fields) if fields else sandboxes.get(name))
            if row is None:
                raise NotFoundError(NO_SANDBOX)
            [sandbox] = await entities_of(session, [row], self._settings)
            if "lifetime_seconds" in fields:
                check_age(sandbox, datetime.now(UTC))
        self._nudges.changed(viewer.id)
        return sandbox

    async def start(self, viewer: Viewer, sandbox_id: str) -> Sandbox:
        """Return it RUNNING."""
        name = check_sandbox_id(sandbox_id)
        row = await self._operations.run(self._lifecycle.start(viewer, name))
        return await self._entity(viewer, row)

    async def stop(self, viewer: Viewer, sandbox_id: str) -> Sandbox:
        """Return it STOPPED."""
        name = check_sandbox_id(sandbox_id)
        row = await self._operations.run(self._lifecycle.stop(viewer, name))
        return await self._entity(viewer, row)

    async def restart(self, viewer: Viewer, sandbox_id: str) -> Sandbox:
        """Clear the interpreter's state. Raises `ConflictError` unless RUNNING."""
        name = check_sandbox_id(sandbox_id)
        row = await self._operations.run(self._lifecycle.restart(viewer, name))
        return await self._entity(viewer, row)

    async def delete(self, viewer: Viewer, sandbox_id: str) -> SandboxId:
        """Remove it and all that it has."""
        name = check_sandbox_id(sandbox_id)
        await self._operations.run(self._lifecycle.delete(viewer, name))
        return name

    async def stats(self, viewer: Viewer, sandbox: Sandbox) -> SandboxStats | None:
        """Measure a sandbox; None unless RUNNING."""
        require_owner(viewer, sandbox)
        if sandbox.status is not SandboxStatus.RUNNING or sandbox.session_id is None:
            return None
        try:
            async with asyncio.timeout(STATS_SECONDS):
                return stats_of(await self._executor.stats(sandbox.session_id))
        except SessionGoneError:
            await self._losses.session_gone(sandbox.session_id)
            return None
        except ExecutorError as error:
            raise from_executor(error) from error
        except TimeoutError as error:
            raise ServiceUnavailableError(SILENT) from error

    async def stats_of_many(
        self, viewer: Viewer, sandboxes: Sequence[Sandbox], turns: SessionTurns
    ) -> Mapping[SandboxId, SandboxStats | BaseException | None]:
        """Measure each once; what `stats` raises of one stands in its place."""
        running = {each.id: each for each in sandboxes if is_running(each)}
        return await turns.each(running, partial(self.stats, viewer))

    async def limits(self, viewer: Viewer) -> ViewerLimits:  # noqa: ARG002 # as all are asked
        """Return how much the viewer may have: the same for everybody."""
        return self._settings.quotas

    async def usage(self, viewer: Viewer) -> ViewerUsage:
        """Count what the viewer has; what has ended just now is put on the record before."""
        usage = await self._usage(viewer)
        if usage.unended_executions:
            # Where sessions do not answer so soon, the record says what is known.
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLED_SECONDS):
                    await self._settler.settle_all(viewer)
            usage = await self._usage(viewer)
        return ViewerUsage(
            sandboxes=usage.sandboxes,
            running_sandboxes=usage.running,
            running_executions=usage.unended_executions,
        )

    async def _usage(self, viewer: Viewer) -> Usage:
        async with self._transactions.of(viewer) as session:
            return await SandboxRepository(session).usage()

    async def changes(
        self, viewer: Viewer, sandbox_id: str | None
    ) -> AsyncGenerator[SandboxChange, None]:
        """Yield the viewer's sandboxes as they are and as they change: all, or one."""
        only = None if sandbox_id is None else check_sandbox_id(sandbox_id)
        async with aclosing(self._changes.watch(viewer, only)) as changes:
            async for change in changes:
                yield change

    async def _entity(self, viewer: Viewer, row: SandboxRow) -> Sandbox:
        async with self._transactions.of(viewer) as session:
            [sandbox] = await entities_of(session, [row], self._settings)
        return sandbox


def _conditions(wanted: SandboxFilter) -> SandboxConditions:
    checked = check_filter(wanted)
    return SandboxConditions(
        statuses=checked.statuses, labels=checked.metadata, name_contains=checked.name_contains
    )


def _fields(changes: SandboxChanges, times: TimeSettings) -> SandboxFields:
    fields = SandboxFields()
    if not isinstance(changes.name, Unset):
        fields["name"] = check_name(changes.name)
    if not isinstance(changes.metadata, Unset):
        fields["labels"] = check_metadata(changes.metadata)
    if not isinstance(changes.idle_timeout_seconds, Unset):
        fields["idle_timeout_seconds"] = check_idle_timeout(changes.idle_timeout_seconds, times)
    if not isinstance(changes.lifetime_seconds, Unset):
        fields["lifetime_seconds"] = check_lifetime(changes.lifetime_seconds, times)
    return fields
