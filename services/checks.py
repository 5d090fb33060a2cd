"""Checks that several inputs share; each refuses with `BadUserInputError` and the field."""

import math
import re
from uuid import UUID

from services.entities import ExecutionId, SandboxId
from services.errors import BadUserInputError
from services.limits import MAX_KEY_CHARACTERS, MAX_PAGE, MAX_SEQ

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def check_uuid(text: str, field: str) -> UUID:
    """Return the id in its canonical form of 36 characters."""
    if _UUID.fullmatch(text) is None:
        raise BadUserInputError(
            f"`{field}` is no UUID: send an id as the API gave it.", field=field
        )
    return UUID(text)


def check_sandbox_id(text: str, field: str = "sandboxId") -> SandboxId:
    """Return the sandbox's id."""
    return SandboxId(check_uuid(text, field))


def check_execution_id(text: str, field: str = "executionId") -> ExecutionId:
    """Return the execution's id."""
    return ExecutionId(check_uuid(text, field))


def check_text(text: str, field: str, *, longest: int, shortest: int = 0, part: str = "") -> str:
    """Return a text of so many characters without NUL or half surrogate pairs.

    `part` says which of the field's texts it is, such as ` of "key"`.
    """
    what = f"`{field}`{part}"
    if not shortest <= len(text) <= longest:
        raise BadUserInputError(
            f"{what} has {len(text)} characters: {shortest} to {longest} are allowed.",
            field=field,
        )
    if "\0" in text:
        raise BadUserInputError(f"{what} holds a NUL character: leave it out.", field=field)
    check_encodable(text, field, part)
    return text


def check_encodable(text: str, field: str, part: str = "") -> bytes:
    """Return the text as UTF-8; half a surrogate pair has none."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadUserInputError(
            f"`{field}`{part} holds half a surrogate pair at character {error.start}: send whole"
            " characters.",
            field=field,
        ) from error


def check_key(text: str | None, field: str) -> str | None:
    """Return a key of the caller's own, 1 to 200 characters."""
    if text is None:
        return None
    return check_text(text, field, longest=MAX_KEY_CHARACTERS, shortest=1)


def check_first(first: int, longest: int = MAX_PAGE) -> int:
    """Return a page's length, 1 to `longest`."""
    if not 1 <= first <= longest:
        raise BadUserInputError(f"`first` is {first}: 1 to {longest} are allowed.", field="first")
    return first


def check_seq(seq: int, field: str = "after") -> int:
    """Return an event's number, 0 for the place before the first."""
    if not 0 <= seq <= MAX_SEQ:
        raise BadUserInputError(f"`{field}` is {seq}: 0 or more is allowed.", field=field)
    return seq


def check_seconds(seconds: float, field: str, *, shortest: float, longest: float) -> float:
    """Return a time in seconds within its bounds; NaN is within none."""
    if not (math.isfinite(seconds) and shortest <= seconds <= longest):
        raise BadUserInputError(
            f"`{field}` is {seconds}: {shortest:g} to {longest:g} seconds are allowed.",
            field=field,
        )
    return float(seconds)
