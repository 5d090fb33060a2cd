"""What is kept of an execution for its record: heads, tails, results, within limits."""

import codecs
from dataclasses import dataclass, field

from services.executor.messages import DisplayData

HEAD_CHARACTERS = 256 * 1024
TAIL_CHARACTERS = 256 * 1024
RESULTS_BYTES = 8 * 1024 * 1024
RESULTS_COUNT = 200


class HeadTail:
    """The first and the last characters of a text of any length."""

    def __init__(self, head: int = HEAD_CHARACTERS, tail: int = TAIL_CHARACTERS) -> None:
        """Keep `head` and `tail` characters."""
        self.truncated = False
        self._head: list[str] = []
        self._head_room = head
        self._tail: list[str] = []
        self._tail_length = 0
        self._tail_limit = tail

    def add(self, text: str) -> None:
        """Add text at the end."""
        if self._head_room:
            part, text = text[: self._head_room], text[self._head_room :]
            self._head.append(part)
            self._head_room -= len(part)
        if not text:
            return
        self._tail.append(text)
        self._tail_length += len(text)
        if self._tail_length > 2 * self._tail_limit:
            self._trim()

    def _trim(self) -> None:
        tail = "".join(self._tail)
        if len(tail) > self._tail_limit:
            self.truncated = True
            tail = tail[-self._tail_limit :]
        self._tail = [tail]
        self._tail_length = len(tail)

    @property
    def weight(self) -> int:
        """Characters kept."""
        return sum(len(part) for part in self._head) + self._tail_length

    @property
    def text(self) -> str:
        """The text, with a line in its place where the middle is missing."""
        self._trim()
        middle = "\n[... output is not kept here ...]\n" if self.truncated else ""
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

    def add(self, data: DisplayData, size: int) -> None:
        """Keep a display while there is room; one with a known display id replaces it."""
        if data.display_id is not None:
            for index, other in enumerate(self.kept):
                if other.display_id == data.display_id:
                    self.kept[index] = data
                    return
        if self.weight + size > RESULTS_BYTES or len(self.kept) >= RESULTS_COUNT:
            self.truncated = True
            return
        self.weight += size
        self.kept.append(data)
