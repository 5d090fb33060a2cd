"""Pages of executions, read for many sandboxes at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from db.repositories.execution_pages import ExecutionPageRepository
from db.repositories.slices import Slice
from db.tables import ExecutionRow
from services.cursors import check_page, encode_cursor
from services.entities import Execution, ExecutionOutline, Page, SandboxId, Viewer
from services.errors import ServiceError
from services.read_budget import ReadBudget
from services.settler import Settler
from services.transactions import Transactions

type _Found[E: ExecutionOutline] = Page[E] | ServiceError


class ExecutionPages:
    """Reads the executions of sandboxes, newest first, in as many statements as for one.

    A sandbox whose page is refused has the refusal in its place.
    """

    def __init__(self, transactions: Transactions, settler: Settler) -> None:
        self._transactions = transactions
        self._settler = settler

    async def whole(
        self,
        viewer: Viewer,
        sandbox_ids: Sequence[SandboxId],
        first: int,
        after: str | None,
        budget: ReadBudget,
    ) -> list[_Found[Execution]]:
        """Return a page for each, in their order; what `budget` raises stands in its place."""
        position = check_page(first, after)
        budget = budget.share(field="first")
        async with self._transactions.of(viewer) as session:
            pages = ExecutionPageRepository(session)
            sizes = await pages.sizes(set(sandbox_ids), first, position)
            refusals = [_refusal(partial(budget.take, sizes[each])) for each in sandbox_ids]
            passed = {
                each for each, refusal in zip(sandbox_ids, refusals, strict=True) if not refusal
            }
            found = await pages.pages(passed, first, position) if passed else {}

        async def complete(row: ExecutionRow) -> Execution:
            return await self._settler.complete_or_row(viewer, row, budget)

        async def page(name: SandboxId, refusal: ServiceError | None) -> _Found[Execution]:
            if refusal is None:
                refusal = _refusal(partial(budget.take_more, sizes[name], found[name].rows))
            return refusal or await _page(found[name], after, complete)

        return await asyncio.gather(*map(page, sandbox_ids, refusals))

    async def outlines(
        self,
        viewer: Viewer,
        sandbox_ids: Sequence[SandboxId],
        first: int,
        after: str | None,
        budget: ReadBudget,
    ) -> list[_Found[ExecutionOutline]]:
        """Do what `whole` does, without reading what is large."""
        position = check_page(first, after)
        budget = budget.share(copies=0)
        async with self._transactions.of(viewer) as session:
            found = await ExecutionPageRepository(session).pages(
                set(sandbox_ids), first, position, large=False
            )

        async def complete(row: ExecutionRow) -> ExecutionOutline:
            return await self._settler.outline_or_row(viewer, row, budget)

        return await asyncio.gather(*(_page(found[each], after, complete) for each in sandbox_ids))

    async def counts(self, viewer: Viewer, sandbox_ids: Sequence[SandboxId]) -> list[int]:
        """Count the executions of each, in their order."""
        async with self._transactions.of(viewer) as session:
            found = await ExecutionPageRepository(session).counts(set(sandbox_ids))
        return [found[each] for each in sandbox_ids]


def _refusal(take: Callable[[], None]) -> ServiceError | None:
    try:
        take()
    except ServiceError as error:
        return error
    return None


async def _page[E: ExecutionOutline](
    found: Slice[ExecutionRow], after: str | None, complete: Callable[[ExecutionRow], Awaitable[E]]
) -> _Found[E]:
    try:
        items = await asyncio.gather(*map(complete, found.rows))
    except ServiceError as error:
        return error
    return Page(
        items=items,
        cursors=[encode_cursor(row.created_at, row.id) for row in found.rows],
        has_next_page=found.has_more,
        has_previous_page=after is not None,
    )
