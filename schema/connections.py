"""What all connections share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Self, TypeVar

import strawberry

from services import entities

T = TypeVar("T")


class Lazy[T]:
    """A value that is fetched when first asked for, once, however many fields need it."""

    def __init__(self, load: Callable[[], Coroutine[None, None, T]]) -> None:
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
    def of(cls, page: entities.Page[T]) -> Self:
        """Say where a page lies."""
        return cls(
            has_next_page=page.has_next_page,
            has_previous_page=page.has_previous_page,
            start_cursor=page.cursors[0] if page.cursors else None,
            end_cursor=page.cursors[-1] if page.cursors else None,
        )
