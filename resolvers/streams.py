"""Streams that have begun before they are handed out, and close what they opened."""

from collections.abc import AsyncGenerator, Callable
from typing import Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class OpenedStream[T]:
    """A stream whose first item is there already.

    A refusal is so an error of the request, not one in the middle of a stream; and closing
    reaches the source even where nobody has read, which a generator that was never started
    would not do.
    """

    def __init__(self, source: AsyncGenerator[T, None], first: list[T]) -> None:
        """Take a source that has been started, and what it has yielded."""
        self._source = source
        self._first = first

    @classmethod
    async def open(cls, source: AsyncGenerator[T, None]) -> Self:
        """Start the source; what it raises before its first item is raised here."""
        try:
            first = [await anext(source)]
        except StopAsyncIteration:
            first = []
        except BaseException:
            await source.aclose()
            raise
        return cls(source, first)

    def map(self, convert: Callable[[T], R]) -> "MappedStream[T, R]":
        """Turn every item into another as it passes."""
        return MappedStream(self, convert)

    async def next(self) -> T:
        """Return the next item. Raises `StopAsyncIteration` at the end."""
        if self._first:
            return self._first.pop()
        return await anext(self._source)

    async def aclose(self) -> None:
        """Close the source; idempotent."""
        self._first.clear()
        await self._source.aclose()


class MappedStream[T, R]:
    """An opened stream, seen through a conversion."""

    def __init__(self, stream: OpenedStream[T], convert: Callable[[T], R]) -> None:
        """Own the stream: it is closed with this."""
        self._stream = stream
        self._convert = convert

    def __aiter__(self) -> Self:
        """Iterate over what is left."""
        return self

    async def __anext__(self) -> R:
        """Return the next item, converted."""
        return self._convert(await self._stream.next())

    async def aclose(self) -> None:
        """Close the stream; idempotent."""
        await self._stream.aclose()
