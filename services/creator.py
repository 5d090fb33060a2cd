"""Makes sandboxes, once a key, within the user's limits."""

from dataclasses import dataclass
from uuid import uuid4

from db.repositories.sandboxes import NewSandboxRow, SandboxRepository
from db.tables import SandboxRow
from services.checks import check_key
from services.entities import NewSandbox, SandboxId, SandboxStatus, Viewer, ViewerLimits
from services.environment import EnvironmentCipher
from services.environment_checks import check_environment
from services.errors import QuotaExceededError, ServiceError, ServiceUnavailableError
from services.lifecycle import Lifecycle
from services.nudges import Nudges
from services.sandbox_checks import (
    check_idle_timeout,
    check_image,
    check_lifetime,
    check_metadata,
    check_name,
)
from services.settings import ServiceSettings
from services.transactions import Transactions


@dataclass(frozen=True, slots=True)
class PreparedSandbox:
    """A sandbox to be, checked."""

    name: str | None
    metadata: dict[str, str]
    image: str
    environment: dict[str, str]
    idle_timeout_seconds: float
    lifetime_seconds: float
    start: bool
    idempotency_key: str | None


class Creator:
    """Puts new sandboxes on the record."""

    def __init__(
        self,
        transactions: Transactions,
        lifecycle: Lifecycle,
        cipher: EnvironmentCipher,
        settings: ServiceSettings,
        nudges: Nudges,
    ) -> None:
        self._transactions = transactions
        self._lifecycle = lifecycle
        self._cipher = cipher
        self._settings = settings
        self._nudges = nudges

    def check(self, new: NewSandbox) -> PreparedSandbox:
        """Check everything before anything is done. Raises `BadUserInputError`."""
        times = self._settings.times
        return PreparedSandbox(
            name=check_name(new.name),
            metadata=check_metadata(new.metadata),
            image=check_image(new.image, self._settings.sessions),
            environment=check_environment(new.environment),
            idle_timeout_seconds=check_idle_timeout(new.idle_timeout_seconds, times),
            lifetime_seconds=check_lifetime(new.lifetime_seconds, times),
            start=new.start,
            idempotency_key=check_key(new.idempotency_key, "idempotencyKey"),
        )

    async def create(self, viewer: Viewer, prepared: PreparedSandbox) -> SandboxRow:
        """Return the new row, or the one that was made with the same key.

        Raises `QuotaExceededError`, and what the start raises, with `sandboxId`: then the
        row stays, FAILED.
        """
        row = await self._insert(viewer, prepared)
        self._nudges.changed(viewer.id)
        if not prepared.start:
            return row
        try:
            return await self._start(viewer, row)
        except ServiceError as error:
            error.extensions["sandboxId"] = str(row.id)
            raise

    async def _start(self, viewer: Viewer, row: SandboxRow) -> SandboxRow:
        try:
            return await self._lifecycle.start(viewer, SandboxId(row.id))
        except QuotaExceededError as error:
            await self._lifecycle.fail(viewer, SandboxId(row.id), error.message)
            raise

    async def _insert(self, viewer: Viewer, prepared: PreparedSandbox) -> SandboxRow:
        key = prepared.idempotency_key
        async with self._transactions.of(viewer, serialized=True) as session:
            sandboxes = SandboxRepository(session)
            known = None if key is None else await sandboxes.get_by_idempotency_key(key)
            if known is not None:
                return known
            inserted = await sandboxes.insert(self._row(viewer, prepared))
            if inserted is None and key is not None:
                # One that another process made meanwhile.
                inserted = await sandboxes.get_by_idempotency_key(key)
            if inserted is None:
                raise ServiceUnavailableError("The sandbox could not be made: try again.")
            check_sandboxes((await sandboxes.usage()).sandboxes, self._settings.quotas)
        return inserted

    def _row(self, viewer: Viewer, prepared: PreparedSandbox) -> NewSandboxRow:
        sandbox_id = SandboxId(uuid4())
        sealed = None
        if prepared.environment:
            sealed = self._cipher.encrypt(sandbox_id, prepared.environment)
        return NewSandboxRow(
            id=sandbox_id,
            owner_id=viewer.id,
            name=prepared.name,
            image=prepared.image,
            labels=prepared.metadata,
            environment_names=sorted(prepared.environment),
            environment_encrypted=sealed,
            idle_timeout_seconds=prepared.idle_timeout_seconds,
            lifetime_seconds=prepared.lifetime_seconds,
            idempotency_key=prepared.idempotency_key,
            status=SandboxStatus.STOPPED,
        )


def check_sandboxes(sandboxes: int, quotas: ViewerLimits) -> None:
    """Raise `QuotaExceededError` where there may not be so many."""
    if sandboxes > quotas.max_sandboxes:
        raise QuotaExceededError(
            f"{quotas.max_sandboxes} sandboxes are allowed: delete one first.",
            limit="maxSandboxes",
        )
