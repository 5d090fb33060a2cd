"""The right to do one thing alone, over all processes."""

from datetime import timedelta

from sqlalchemy import delete, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from db.sessions import ServiceSession
from db.tables import LeaseRow


class LeaseRepository:
    """Leases are rows, so that they work behind a transaction pooler; times are the database's."""

    def __init__(self, session: ServiceSession) -> None:
        self._session = session

    async def acquire(self, name: str, holder: str, seconds: float) -> bool:
        """Take or renew a lease for so many seconds; False where another holds it."""
        expiry = func.clock_timestamp() + timedelta(seconds=seconds)
        taken = await self._session.scalar(
            insert(LeaseRow)
            .values(name=name, holder=holder, expires_at=expiry)
            .on_conflict_do_update(
                index_elements=["name"],
                set_={"holder": holder, "expires_at": expiry},
                where=or_(
                    col(LeaseRow.holder) == holder,
                    col(LeaseRow.expires_at) < func.clock_timestamp(),
                ),
            )
            .returning(col(LeaseRow.name))
        )
        return taken is not None

    async def release(self, name: str, holder: str) -> None:
        """Give a lease back; one that is not held is no error."""
        await self._session.exec(
            delete(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder)
        )
