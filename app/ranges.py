"""HTTP ranges (RFC 9110, section 14): one range of bytes, as downloads resume with."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class UnsatisfiableRangeError(Exception):
    """The range begins behind the end of the file."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a file, from `offset` on."""

    offset: int
    length: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range asked for; None for the whole, which also answers what we don't know.

    Several ranges at once are answered with the whole file, as the RFC lets a server do.
    Raises `UnsatisfiableRangeError`.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise UnsatisfiableRangeError
        return ByteRange(size - length, length)
    begin = int(first)
    if last and int(last) < begin:
        return None
    if begin >= size:
        raise UnsatisfiableRangeError
    end = min(int(last), size - 1) if last else size - 1
    return ByteRange(begin, end - begin + 1)
