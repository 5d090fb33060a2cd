"""Pages of executions, of many sandboxes in one statement."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    TableValuedAlias,
    Uuid,
    func,
    literal,
    true,
    tuple_,
)
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from db.repositories.executions import PageSize, columns, large_bytes
from db.repositories.slices import Position, Slice
from db.sessions import TenantSession
from db.tables import ExecutionRow

NEWEST_FIRST = (col(ExecutionRow.created_at).desc(), col(ExecutionRow.id).desc())


class ExecutionPageRepository:
    """Reads the newest executions that row-level security shows, sandbox by sandbox."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def pages(
        self,
        sandbox_ids: Collection[UUID],
        first: int,
        after: Position | None = None,
        *,
        large: bool = True,
    ) -> Mapping[UUID, Slice[ExecutionRow]]:
        """Return each sandbox's newest after a position, none where it has none.

        Without `large` the rows lack code, output and results (each may be megabytes), and
        raise where one is asked for.
        """
        wanted = _table_of(sandbox_ids)
        page = (
            select(ExecutionRow)
            .where(*_older(wanted, after))
            .order_by(*NEWEST_FIRST)
            .limit(first + 1)
            .lateral("page")
        )
        row = aliased(ExecutionRow, page)
        found = await self._session.exec(
            select(row)
            .select_from(wanted.join(page, true()))
            .order_by(col(row.created_at).desc(), col(row.id).desc())
            .options(*columns(row, large=large))
        )
        rows: dict[UUID, list[ExecutionRow]] = {each: [] for each in sandbox_ids}
        for each in found:
            rows[each.sandbox_id].append(each)
        return {name: Slice.of(of_one, first) for name, of_one in rows.items()}

    async def sizes(
        self, sandbox_ids: Collection[UUID], first: int, after: Position | None = None
    ) -> Mapping[UUID, PageSize]:
        """Measure what `pages` would return, without reading it: Postgres keeps the lengths."""
        wanted = _table_of(sandbox_ids)
        page = (
            select(large_bytes().label("bytes"))
            .where(*_older(wanted, after))
            .order_by(*NEWEST_FIRST)
            .limit(first)
            .lateral("page")
        )
        found = await self._session.exec(
            select(wanted.c.id, func.count(), func.coalesce(func.sum(page.c.bytes), 0))
            .select_from(wanted.join(page, true()))
            .group_by(wanted.c.id)
        )
        sizes = {name: PageSize(number, size) for name, number, size in found}
        return {each: sizes.get(each, PageSize(0, 0)) for each in sandbox_ids}

    async def counts(self, sandbox_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """Count each sandbox's executions."""
        found: Sequence[tuple[UUID, int]] = (
            await self._session.exec(
                select(col(ExecutionRow.sandbox_id), func.count())
                .where(col(ExecutionRow.sandbox_id).in_(sandbox_ids))
                .group_by(col(ExecutionRow.sandbox_id))
            )
        ).all()
        return dict.fromkeys(sandbox_ids, 0) | dict(found)


def _table_of(sandbox_ids: Collection[UUID]) -> TableValuedAlias:
    ids = literal(list(sandbox_ids), ARRAY(Uuid()))
    return func.unnest(ids).table_valued("id", name="wanted").render_derived()


def _older(wanted: TableValuedAlias, after: Position | None) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = [col(ExecutionRow.sandbox_id) == wanted.c.id]
    if after is not None:
        age = tuple_(col(ExecutionRow.created_at), col(ExecutionRow.id))
        clauses.append(age < tuple_(literal(after[0]), literal(after[1])))
    return clauses
