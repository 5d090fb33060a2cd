"""The events of one execution: numbered, merged, bounded, and read by waiting.

Chunks are merged before they are numbered, so that all readers see the same events. Over the
bound, the oldest chunks and displays go, unless a reader that keeps up has not had them yet:
then `writable` makes the producer wait for that reader.
"""

import asyncio
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from services.executor.messages import Display, Event, Finished, Gap, Output, OutputStream

CHUNK_BYTES = 64 * 1024
"""Text that is merged into one chunk while nobody waits for it."""
KEPT_BYTES = 8 * 1024 * 1024
EVENT_BYTES = 256
"""What an event costs beside its text."""
SILENT_SECONDS = 5.0
"""A reader that asks for nothing for so long is not waited for."""

Clock = Callable[[], float]


@dataclass(slots=True)
class _Reader:
    position: int
    seen: float
    waiting: int = 0
    gone: bool = False


class EventLog:
    """One execution's events; single-threaded, for one event loop."""

    def __init__(self, kept_bytes: int = KEPT_BYTES, clock: Clock = time.time) -> None:
        """Keep about `kept_bytes` of events for readers that come late."""
        self.last_seq = 0
        self.ended = False
        self._clock = clock
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._tail: list[Event] = []
        self._base = 0
        """Events up to this number are dropped, save for those in `_survivors`."""
        self._survivors: list[Event] = []
        self._droppable = array("Q", [0])
        """Bytes of droppable events up to each number, so that a gap can say how much."""
        self._pending: list[str] = []
        self._pending_stream = OutputStream.STDOUT
        self._pending_bytes = 0
        self._readers: dict[str, _Reader] = {}
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._patient = True

    def hurry(self) -> None:
        """Wait for no reader any more: the producer is being ended."""
        self._patient = False
        self._room.set()

    @property
    def weight(self) -> int:
        """Bytes of memory that the events take, about."""
        return self._bytes

    def shrink(self) -> None:
        """Drop all that may be dropped: readers that come later see a gap."""
        self._kept_bytes = 0
        self.hurry()
        self._evict()

    def untouched_since(self, seq: int) -> bool:
        """Whether nothing came after the event of this number."""
        return self.last_seq == seq and not self._pending

    def expect(self, reader_id: str) -> None:
        """Wait for this reader from the first event on."""
        if reader_id:
            self._reader(reader_id, 0)

    def output(self, stream: OutputStream, text: str) -> None:
        """Add text, merged with what nobody has been given yet."""
        if self._pending and stream is not self._pending_stream:
            self._seal()
        self._pending_stream = stream
        for start in range(0, len(text), CHUNK_BYTES):
            part = text[start : start + CHUNK_BYTES]
            if self._pending_bytes + len(part) > CHUNK_BYTES:
                self._seal()
            self._pending.append(part)
            self._pending_bytes += len(part)
        self._wake()

    def add(self, make: Callable[[int, float], Event], weight: int = 0) -> Event:
        """Add an event, given its number and time, after all pending output.

        `weight` is the memory that a display takes, in bytes.
        """
        self._seal()
        event = self._append(make, weight)
        if isinstance(event, Finished):
            self.ended = True
        self._wake()
        return event

    def _seal(self) -> None:
        if not self._pending:
            return
        text, stream = "".join(self._pending), self._pending_stream
        self._pending.clear()
        self._pending_bytes = 0
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        self._append(lambda seq, at: Output(seq, at, stream, text), size)

    def _append(self, make: Callable[[int, float], Event], size: int) -> Event:
        self.last_seq += 1
        event = make(self.last_seq, self._clock())
        self._droppable.append(self._droppable[-1] + size)
        self._tail.append(event)
        self._bytes += size + EVENT_BYTES
        if self._bytes > self._kept_bytes:
            self._evict()
        return event

    def _evict(self) -> None:
        """Drop the oldest, but nothing that a reader which keeps up has not had."""
        floor = self._slowest()
        count = 0
        while self._bytes > self._kept_bytes and count < len(self._tail):
            event = self._tail[count]
            if floor is not None and event.seq > floor:
                break
            self._bytes -= self._size(event) + EVENT_BYTES
            if not isinstance(event, Output | Display):
                self._survivors.append(event)
            count += 1
        del self._tail[:count]
        self._base += count

    def _size(self, event: Event) -> int:
        if isinstance(event, Gap):
            return 0
        return self._droppable[event.seq] - self._droppable[event.seq - 1]

    def _slowest(self) -> int | None:
        """Return the position of the slowest reader that is still waited for."""
        if not self._patient:
            return None
        now = time.monotonic()
        positions = [
            reader.position
            for reader in self._readers.values()
            if reader.waiting or now - reader.seen < SILENT_SECONDS
        ]
        return min(positions, default=None)

    async def writable(self) -> None:
        """Wait until there is room for more."""
        self._evict_if_full()
        while self._bytes > self._kept_bytes and self._slowest() is not None:
            self._room.clear()
            try:
                async with asyncio.timeout(SILENT_SECONDS / 10):
                    await self._room.wait()
            except TimeoutError:
                pass
            self._evict_if_full()

    def _evict_if_full(self) -> None:
        if self._bytes > self._kept_bytes:
            self._evict()

    async def read(
        self, after: int, max_bytes: int, wait_seconds: float, reader_id: str = ""
    ) -> tuple[Event, ...]:
        """Return all events after `after`, up to about `max_bytes`, waiting for the first.

        Empty when the wait ran out, or nothing can come any more.
        """
        reader = self._reader(reader_id, after)
        reader.waiting += 1
        try:
            if not self._has(after) and not self.ended and wait_seconds > 0:
                await self._wait_for_news(reader, after, wait_seconds)
            return tuple(self._after(after, max_bytes))
        finally:
            reader.waiting -= 1
            reader.seen = time.monotonic()

    def _reader(self, reader_id: str, position: int) -> _Reader:
        if not reader_id:
            return _Reader(position, time.monotonic())
        reader = self._readers.setdefault(reader_id, _Reader(position, time.monotonic()))
        if position > reader.position:
            self._room.set()
        reader.position = position
        reader.seen = time.monotonic()
        return reader

    def leave(self, reader_id: str) -> None:
        """Forget a reader, so that nothing waits for it."""
        reader = self._readers.pop(reader_id, None)
        if reader is not None:
            reader.gone = True
            self._wake()
            self._room.set()

    def _has(self, after: int) -> bool:
        return self.last_seq > after or bool(self._pending)

    async def _wait_for_news(self, reader: _Reader, after: int, wait_seconds: float) -> None:
        try:
            async with asyncio.timeout(wait_seconds):
                while not (self._has(after) or self.ended or reader.gone):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._news.set()

    def _after(self, after: int, max_bytes: int) -> Iterator[Event]:
        """Yield what is kept after `after`, with a gap for each run of dropped events."""
        if self._pending:
            self._seal()
        taken = 0
        for event in self._kept(after):
            yield event
            taken += self._size(event) + EVENT_BYTES
            if taken >= max_bytes:
                return

    def _kept(self, after: int) -> Iterator[Event]:
        position = after
        if after < self._base:
            start = bisect_right(self._survivors, after, key=lambda event: event.seq)
            for event in islice(self._survivors, start, None):
                if event.seq > position + 1:
                    yield self._gap(position, event.seq - 1)
                yield event
                position = event.seq
            if position < self._base:
                yield self._gap(position, self._base)
                position = self._base
        yield from islice(self._tail, max(position - self._base, 0), None)

    def _gap(self, after: int, last: int) -> Gap:
        dropped = self._droppable[last] - self._droppable[after]
        return Gap(last, self._clock(), from_seq=after + 1, dropped_bytes=dropped)
