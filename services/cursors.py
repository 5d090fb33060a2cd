"""Opaque cursors of connections: a creation time and an id in base64."""

import base64
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.checks import check_first
from services.errors import BadUserInputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLAIN = re.compile(rb"v1:(\d{1,16}):([0-9a-f]{32})")

Position = tuple[datetime, UUID]


def encode_cursor(created_at: datetime, node_id: UUID) -> str:
    """Return the cursor of a node; microseconds are what the database keeps."""
    micros = (created_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(f"v1:{micros}:{node_id.hex}".encode()).decode()


def decode_cursor(cursor: str) -> Position:
    """Return what a cursor stands for. Raises `BadUserInputError` for anything else."""
    try:
        plain = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _refusal() from error
    match = _PLAIN.fullmatch(plain)
    if match is None:
        raise _refusal()
    # At most 16 digits: before the year 2287, which a `datetime` reaches.
    created_at = _EPOCH + int(match[1]) * _MICROSECOND
    return created_at, UUID(hex=match[2].decode())


def check_page(first: int, after: str | None) -> Position | None:
    """Return after what a page begins, None for the first. Raises `BadUserInputError`."""
    check_first(first)
    return None if after is None else decode_cursor(after)


def _refusal() -> BadUserInputError:
    return BadUserInputError(
        "`after` is no cursor of this connection: send an `endCursor` as it was given.",
        field="after",
    )
