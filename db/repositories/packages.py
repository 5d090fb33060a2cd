"""What a user's sandboxes can import."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import col, select

from db.sessions import TenantSession
from db.tables import PackageRow


class PackageRepository:
    """Reads what row-level security shows of the packages."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def list(self, sandbox_id: UUID) -> Sequence[PackageRow]:
        """Return a sandbox's packages by name."""
        found = await self._session.exec(
            select(PackageRow)
            .where(col(PackageRow.sandbox_id) == sandbox_id)
            .order_by(col(PackageRow.name))
        )
        return found.all()
