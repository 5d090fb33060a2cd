"""JSON as it goes over the wire: fast where it can be, valid always."""

import json
from typing import Any

import orjson

LEAST_WHOLE, MOST_WHOLE = -(2**63), 2**64 - 1
"""Of the whole numbers that orjson writes by itself."""
MAX_VALUES = 40_000
"""Of one text, at any depth, names counted too; a string counts one, however long."""
_OPENING = (b"[", b"{")


def encode(value: object) -> bytes:
    """Encode any JSON value; NaN and infinities become null, lone surrogates U+FFFD."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Whole numbers beyond 64 bit and lone surrogates are what orjson won't have.
        return orjson.dumps(_Cleaner().clean(value))


class TooManyValuesError(ValueError):
    """JSON that would take long to read, and many times its own size in memory."""

    def __init__(self) -> None:
        super().__init__(f"The JSON holds more than {MAX_VALUES} values.")


def decode(text: bytes | str) -> Any:  # noqa: ANN401 - JSON may be anything
    """Decode JSON, and what types and services refuse with a better message, by the field.

    That is NaN, infinities, and half surrogate pairs, which a browser's editor may hold: on a
    websocket they must not end all other operations. Raises `ValueError` for what is no JSON,
    and `TooManyValuesError` before anything is read.
    """
    if _has_too_many_values(text.encode(errors="replace") if isinstance(text, str) else text):
        raise TooManyValuesError
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("The JSON is nested too deeply.") from error


def _has_too_many_values(text: bytes) -> bool:
    """Count without reading: 24 MB of `[],` would be 870 MB of lists, after two seconds."""
    # A value takes a byte and a comma.
    if len(text) < 2 * MAX_VALUES:
        return False
    if b"\\" in text:
        # What is left of quotes then begins and ends strings.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > 2 * MAX_VALUES:
        return True
    outside = b"".join(text.split(b'"')[::2])
    return outside.count(b",") + sum(map(outside.count, _OPENING)) > MAX_VALUES


class _Cleaner:
    """Replaces what orjson won't have; what an answer shows often is cleaned once."""

    def __init__(self) -> None:
        self._cleaned: dict[int, object] = {}

    def clean(self, value: object) -> object:
        match value:
            case str() if not value.isascii():
                whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                # Not a second copy of each text for as long as the answer takes.
                return value if whole == value else whole
            case int() if not LEAST_WHOLE <= value <= MOST_WHOLE:
                return orjson.Fragment(str(value))
            case dict() | list() | tuple():
                return self._cleaned_once(value)
            case _:
                return value

    def _cleaned_once(self, value: dict[str, object] | list[object] | tuple[object, ...]) -> object:
        known = self._cleaned.get(id(value))
        if known is None:
            known = self._cleaned[id(value)] = (
                {self.clean(key): self.clean(item) for key, item in value.items()}
                if isinstance(value, dict)
                else [self.clean(item) for item in value]
            )
        return known
