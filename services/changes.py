"""A user's sandboxes as they change: the latest state of each, by polls that nudges hasten."""

import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from db.repositories.sandboxes import SandboxRepository
from services.entities import Sandbox, SandboxChange, SandboxId, Viewer
from services.errors import NotFoundError, ServiceUnavailableError
from services.nudges import Nudges
from services.sandbox_rows import NO_SANDBOX, entities_of
from services.settings import ServiceSettings
from services.transactions import Transactions
from services.turns import Turns

LOOKS_AT_ONCE = 2
"""Of one user: each change has all of a user's watchers look, and others need connections too."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the database saw."""

    stamps: Mapping[UUID, datetime]
    changed: list[Sandbox]


class ChangeFeed:
    """Looks at the database at once when something has changed, and now and then unasked."""

    def __init__(
        self, transactions: Transactions, settings: ServiceSettings, nudges: Nudges
    ) -> None:
        self._transactions = transactions
        self._settings = settings
        self._nudges = nudges
        self._turns = Turns(LOOKS_AT_ONCE, most_waiting=sys.maxsize)

    async def watch(
        self, viewer: Viewer, only: SandboxId | None
    ) -> AsyncGenerator[SandboxChange, None]:
        """Yield the present state, then changes; ends once the one watched is deleted.

        Raises `NotFoundError`, and `ServiceUnavailableError` where it cannot begin; an
        outage of the database later on is waited out.
        """
        with self._nudges.listen(viewer.id) as listener:
            look = await self._look(viewer, only, {})
            if only is not None and not look.stamps:
                raise NotFoundError(NO_SANDBOX)
            seen: Mapping[UUID, datetime] = {}
            while True:
                for sandbox in look.changed:
                    yield SandboxChange(sandbox, None, sandbox.updated_at)
                for gone in seen.keys() - look.stamps.keys():
                    yield SandboxChange(None, SandboxId(gone), datetime.now(UTC))
                if only is not None and not look.stamps:
                    return
                seen = look.stamps
                await listener.wait(self._nudges.poll_seconds)
                look = await self._look_again(viewer, only, seen)

    async def _look(
        self, viewer: Viewer, only: SandboxId | None, seen: Mapping[UUID, datetime]
    ) -> Look:
        async with self._turns.take(viewer.id), self._transactions.of(viewer) as session:
            sandboxes = SandboxRepository(session)
            stamps = dict(await sandboxes.stamps(only))
            new = [name for name, stamp in stamps.items() if seen.get(name) != stamp]
            rows = await sandboxes.get_many(new) if new else []
            changed = await entities_of(session, rows, self._settings)
        return Look(stamps, sorted(changed, key=lambda each: each.updated_at))

    async def _look_again(
        self, viewer: Viewer, only: SandboxId | None, seen: Mapping[UUID, datetime]
    ) -> Look:
        try:
            return await self._look(viewer, only, seen)
        except ServiceUnavailableError:
            _log.warning("sandbox changes unread")
            return Look(seen, [])
