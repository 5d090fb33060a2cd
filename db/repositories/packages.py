"""What a user's sandboxes can import."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, literal
from sqlmodel import col, select

from db.sessions import TenantSession
from db.tables import PackageRow

type NameAndVersion = tuple[str, str]


class PackageRepository:
    """Reads what row-level security shows of the packages."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def lists(self, sandbox_ids: Collection[UUID]) -> Mapping[UUID, Sequence[NameAndVersion]]:
        """Return each sandbox's packages by name, none where it has none."""
        wanted = literal(list(sandbox_ids), ARRAY(Uuid()))
        name = col(PackageRow.name)
        found = await self._session.exec(
            select(col(PackageRow.sandbox_id), name, col(PackageRow.version))
            .where(col(PackageRow.sandbox_id) == any_(wanted))
            .order_by(name)
        )
        lists: dict[UUID, list[NameAndVersion]] = {each: [] for each in sandbox_ids}
        for sandbox_id, *pair in found:
            lists[sandbox_id].append((pair[0], pair[1]))
        return lists
