"""What a user's sandboxes can import."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlmodel import col, select

from db.repositories.parameters import among
from db.sessions import TenantSession
from db.tables import PackageRow

type NameAndVersion = tuple[str, str]

LISTS = (
    select(col(PackageRow.sandbox_id), col(PackageRow.name), col(PackageRow.version))
    .where(among(col(PackageRow.sandbox_id)))
    .order_by(col(PackageRow.name))
)


class PackageRepository:
    """Reads what row-level security shows of the packages."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def lists(self, sandbox_ids: Collection[UUID]) -> Mapping[UUID, Sequence[NameAndVersion]]:
        """Return each sandbox's packages by name, none where it has none."""
        found = await self._session.exec(LISTS, params={"ids": list(sandbox_ids)})
        lists: dict[UUID, list[NameAndVersion]] = {each: [] for each in sandbox_ids}
        for sandbox_id, name, version in found:
            lists[sandbox_id].append((name, version))
        return lists
