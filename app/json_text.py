"""JSON as it goes over the wire: fast where it can be, valid always."""

import json
import math
from typing import Any

import orjson


def encode(value: object) -> bytes:
    """Encode any JSON value; NaN and infinities become null, lone surrogates U+FFFD."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Whole numbers beyond 64 bit and lone surrogates are what orjson won't have.
        return json.dumps(_clean(value), ensure_ascii=False, separators=(",", ":")).encode()


def decode(text: bytes | str) -> Any:  # noqa: ANN401 - JSON may be anything
    """Decode JSON, and what types and services refuse with a better message, by the field.

    That is NaN, infinities, and half surrogate pairs, which a browser's editor may hold: on a
    websocket they must not end all other operations. Raises `ValueError` for what is no JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("The JSON is nested too deeply.") from error


def _clean(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {_clean(key): _clean(item) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
        case _:
            return value
