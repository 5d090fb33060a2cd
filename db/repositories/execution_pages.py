"""Pages of executions, of many sandboxes in one statement."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, TableValuedAlias, func, true
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import Select, SelectOfScalar

from db.repositories.executions import PageSize, columns, large_bytes
from db.repositories.parameters import IDS, MOST, among, is_older, newest_first, of_page
from db.repositories.slices import Position, Slice
from db.sessions import TenantSession
from db.tables import ExecutionRow

COUNTS = (
    select(col(ExecutionRow.sandbox_id), func.count())
    .where(among(col(ExecutionRow.sandbox_id)))
    .group_by(col(ExecutionRow.sandbox_id))
)


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
        found = await self._session.exec(
            _pages(after=after is not None, large=large),
            params=of_page(first + 1, after, ids=list(sandbox_ids)),
        )
        rows: dict[UUID, list[ExecutionRow]] = {each: [] for each in sandbox_ids}
        for each in found:
            rows[each.sandbox_id].append(each)
        return {name: Slice.of(of_one, first) for name, of_one in rows.items()}

    async def sizes(
        self, sandbox_ids: Collection[UUID], first: int, after: Position | None = None
    ) -> Mapping[UUID, PageSize]:
        """Measure what `pages` would return, without reading it: Postgres keeps the lengths."""
        found = await self._session.exec(
            _sizes(after=after is not None),
            params=of_page(first, after, ids=list(sandbox_ids)),
        )
        sizes = {name: PageSize(number, size) for name, number, size in found}
        return {each: sizes.get(each, PageSize(0, 0)) for each in sandbox_ids}

    async def counts(self, sandbox_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """Count each sandbox's executions."""
        found: Sequence[tuple[UUID, int]] = (
            await self._session.exec(COUNTS, params={"ids": list(sandbox_ids)})
        ).all()
        return dict.fromkeys(sandbox_ids, 0) | dict(found)


@cache
def _pages(*, after: bool, large: bool) -> SelectOfScalar[ExecutionRow]:
    wanted = _wanted()
    page = (
        select(ExecutionRow)
        .where(*_of_one(wanted, after=after))
        .order_by(*newest_first(ExecutionRow))
        .limit(MOST)
        .lateral("page")
    )
    row = aliased(ExecutionRow, page)
    return (
        select(row)
        .select_from(wanted.join(page, true()))
        .order_by(*newest_first(row))
        .options(*columns(row, large=large))
    )


@cache
def _sizes(*, after: bool) -> Select[Any, int, Any]:
    wanted = _wanted()
    page = (
        select(large_bytes().label("bytes"))
        .where(*_of_one(wanted, after=after))
        .order_by(*newest_first(ExecutionRow))
        .limit(MOST)
        .lateral("page")
    )
    return (
        select(wanted.c.id, func.count(), func.coalesce(func.sum(page.c.bytes), 0))
        .select_from(wanted.join(page, true()))
        .group_by(wanted.c.id)
    )


def _wanted() -> TableValuedAlias:
    return func.unnest(IDS).table_valued("id", name="wanted").render_derived()


def _of_one(wanted: TableValuedAlias, *, after: bool) -> list[ColumnElement[bool]]:
    one = col(ExecutionRow.sandbox_id) == wanted.c.id
    return [one, is_older(ExecutionRow)] if after else [one]
