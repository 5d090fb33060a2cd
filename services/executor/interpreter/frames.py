"""Length-framed messages between a session on the node and the supervisor in the sandbox.

A frame is a 4-byte big-endian payload length, a 1-byte type and the payload: JSON in UTF-8,
save for `OUTPUT`, whose payload is a 1-byte file descriptor (1 or 2) and raw bytes.
"""

import json
import re
import struct
from typing import Any

HEADER = struct.Struct(">IB")
_RUN = re.compile(rb'\{"run":(\d{1,18})[,}]')
MAX_FRAME = 24 * 1024 * 1024
"""Longest payload that either side takes, in bytes."""

# To the sandbox.
SETUP = 0x01
EXECUTE = 0x02
INTERRUPT = 0x03
REPLACE = 0x04
INPUT = 0x05
INSTALLED = 0x06
COUNT = 0x07
SURVEY = 0x08

# From the sandbox.
HELLO = 0x41
READY = 0x42
OUTPUT = 0x43
DISPLAY = 0x44
CLEAR = 0x45
ASK = 0x46
ERROR = 0x47
DONE = 0x48
DIED = 0x49
INSTALL = 0x4A
COUNTED = 0x4B
SURVEYED = 0x4C
WITHDRAWN = 0x4D
"""Nobody waits for the answer to a question any more."""

# Between supervisor and interpreter alone.
RELAYED = 0x61
"""So many frames that are answered are on their way, each after all printed before it."""
STARTED = 0x62
"""The interpreter has begun, and takes cells."""
NOT_STARTED = "InterpreterNotStarted"
"""What DONE and ERROR say was raised where an interpreter ended as it started."""
ANSWERED = frozenset({DISPLAY, CLEAR, ASK, INSTALL})
"""Kinds that RELAYED counts, from the interpreter's first on."""

Payload = dict[str, Any]
"""A JSON object; the other side's, so every reader checks the types it relies on."""


class FrameError(Exception):
    """The bytes are no frame: too long, or a payload that does not parse."""


def encode(kind: int, payload: Payload) -> bytes:
    """Frame a JSON payload; lone surrogates become U+FFFD, for UTF-8 has none."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    try:
        body = text.encode()
    except UnicodeEncodeError:
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        body = whole.encode()
    return pack(kind, body)


def pack(kind: int, body: bytes) -> bytes:
    """Frame raw bytes."""
    return HEADER.pack(len(body), kind) + body


def decode(body: bytes) -> Payload:
    """Return the object of a JSON payload; raises `FrameError`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = "the payload is not JSON"
        raise FrameError(msg) from error
    if not isinstance(value, dict):
        msg = "the payload is not an object"
        raise FrameError(msg)
    return value


def run_of(body: bytes) -> int:
    """Return the number with which the payload of an EXECUTE begins, without reading the rest."""
    found = _RUN.match(body)
    return int(found[1]) if found else 0


class Parser:
    """Cut a byte stream into frames."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """Take frames whose payload is at most `limit` bytes."""
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add bytes and return the frames that they complete, as `(type, payload)`.

        Raises `FrameError` at a length over the limit; the stream is of no use after that.
        """
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= HEADER.size:
            length, kind = HEADER.unpack_from(buffer, start)
            if length > self._limit:
                msg = f"a frame of {length} bytes is over the limit of {self._limit}"
                raise FrameError(msg)
            stop = start + HEADER.size + length
            if stop > len(buffer):
                break
            frames.append((kind, bytes(buffer[start + HEADER.size : stop])))
            start = stop
        if start:
            del buffer[:start]
        return frames
