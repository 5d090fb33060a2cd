"""What is kept of an execution for its record: heads, tails, results, within limits."""

import codecs
import sys
from dataclasses import dataclass, field

from services.executor.messages import DisplayData

HEAD_CHARACTERS = 256 * 1024
TAIL_CHARACTERS = 256 * 1024
RESULTS_BYTES = 8 * 1024 * 1024
RESULTS_COUNT = 200
PARTS = 1024
"""Pieces that are kept apart: each costs memory beside its characters."""


class HeadTail:
    """The first and the last characters of a text of any length."""

    def __init__(self, head: int = HEAD_CHARACTERS, tail: int = TAIL_CHARACTERS) -> None:
        """Keep `head` and `tail` characters."""
        self._cut = False
        self._head: list[str] = []
        self._head_length = 0
        self._head_bytes = 0
        self._head_limit = head
        self._tail: list[str] = []
        self._tail_length = 0
        self._tail_bytes = 0
        self._tail_limit = tail

    def add(self, text: str) -> None:
        """Add text at the end."""
        room = self._head_limit - self._head_length
        if room:
            part, text = text[:room], text[room:]
            self._head.append(part)
            if len(self._head) > PARTS:
                self._head = ["".join(self._head)]
            self._head_length += len(part)
            self._head_bytes += sys.getsizeof(part)
        if not text:
            return
        self._tail.append(text)
        self._tail_length += len(text)
        self._tail_bytes += sys.getsizeof(text)
        if self._tail_length > 2 * self._tail_limit or len(self._tail) > PARTS:
            self._trim()

    def _trim(self) -> None:
        tail = "".join(self._tail)
        if len(tail) > self._tail_limit:
            self._cut = True
            tail = tail[-self._tail_limit :]
        self._tail = [tail]
        self._tail_length = len(tail)
        self._tail_bytes = sys.getsizeof(tail)

    @property
    def truncated(self) -> bool:
        """Whether the middle is missing."""
        return self._cut or self._tail_length > self._tail_limit

    @property
    def weight(self) -> int:
        """Bytes of memory that is kept, about: a character takes one to four."""
        return self._head_bytes + self._tail_bytes

    @property
    def text(self) -> str:
        """The text, with a line in its place where the middle is missing."""
        self._trim()
        middle = "\n[... output is not kept here ...]\n" if self._cut else ""
        return "".join(self._head) + middle + "".join(self._tail)


class Decoder:
    """UTF-8 over chunk borders; invalid bytes become U+FFFD."""

    def __init__(self) -> None:
        """Begin between characters."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """Return the characters that are whole by now."""
        return self._decoder.decode(data)

    def finish(self) -> str:
        """Return what an unfinished character at the end comes to, and begin again."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text


@dataclass(slots=True)
class Results:
    """The displays that the record keeps."""

    kept: list[DisplayData] = field(default_factory=list)
    truncated: bool = False
    weight: int = 0
    _sizes: list[int] = field(default_factory=list)

    def add(self, data: DisplayData, size: int) -> None:
        """Keep a display while there is room; one with a known display id replaces it."""
        place = self._place(data)
        covered = self._sizes[place] if place < len(self.kept) else 0
        if self.weight - covered + size > RESULTS_BYTES or place >= RESULTS_COUNT:
            self.truncated = True
            return
        self.weight += size - covered
        self.kept[place : place + 1] = [data]
        self._sizes[place : place + 1] = [size]

    def _place(self, data: DisplayData) -> int:
        if data.display_id is not None:
            for index, other in enumerate(self.kept):
                if other.display_id == data.display_id:
                    return index
        return len(self.kept)
