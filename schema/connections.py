"""What all connections share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Self

import strawberry

from services import entities

type Load[T] = Callable[[], Coroutine[None, None, T]]


class Lazy[T]:
    """A value that is fetched when first asked for, once, however many fields need it."""

    def __init__(self, load: Load[T]) -> None:
        """Keep how to fetch it."""
        self._load = load
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the value; what the fetching raised is raised to each who asks."""
        if self._task is None:
            self._task = asyncio.create_task(self._load())
        return await self._task


@strawberry.type
class PageInfo:
    """The contract's `PageInfo`."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None

    @classmethod
    def of(cls, page: entities.Page[object]) -> Self:
        """Say where a page lies."""
        return cls(
            has_next_page=page.has_next_page,
            has_previous_page=page.has_previous_page,
            start_cursor=page.cursors[0] if page.cursors else None,
            end_cursor=page.cursors[-1] if page.cursors else None,
        )


@strawberry.type
class Edge[N]:
    """The contract's `SandboxEdge` and `ExecutionEdge`: Strawberry names them by their nodes."""

    cursor: str
    node: N


@strawberry.type
class Connection[N]:
    """The contract's `SandboxConnection` and `ExecutionConnection`, named likewise.

    The page and the count are fetched where asked for.
    """

    page: strawberry.Private[Lazy[entities.Page[N]]]
    count: strawberry.Private[Load[int]]

    @classmethod
    def of[E](cls, load: Load[entities.Page[E]], show: Callable[[E], N], count: Load[int]) -> Self:
        """Open it on a page that is yet to be fetched, and shown entity by entity."""

        async def page() -> entities.Page[N]:
            found = await load()
            return entities.Page(
                items=[show(item) for item in found.items],
                cursors=found.cursors,
                has_next_page=found.has_next_page,
                has_previous_page=found.has_previous_page,
            )

        return cls(page=Lazy(page), count=count)

    @strawberry.field
    async def edges(self) -> list[Edge[N]]:
        """Show the page with its cursors."""
        page = await self.page.get()
        return [
            Edge(cursor=cursor, node=item)
            for cursor, item in zip(page.cursors, page.items, strict=True)
        ]

    @strawberry.field
    async def nodes(self) -> list[N]:
        """Show the page."""
        return list((await self.page.get()).items)

    @strawberry.field
    async def page_info(self) -> PageInfo:
        """Say where the page lies."""
        return PageInfo.of(await self.page.get())

    @strawberry.field
    async def total_count(self) -> int:
        """Count all that there are."""
        return await self.count()
