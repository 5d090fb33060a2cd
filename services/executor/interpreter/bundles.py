"""Mime bundles as they leave the sandbox: JSON, and no larger than a reader is shown."""

import datetime as dt
import json
import numbers
from base64 import b64encode
from typing import Any

TEXT = "text/plain"
DEPTH = 64
"""Lists and objects in each other, the outermost counted."""
BUNDLE_BYTES = 10 * 1024 * 1024 - 64 * 1024
"""All types of one bundle together, as JSON; the node takes a little more."""


def fit(data: dict[str, Any]) -> dict[str, Any]:
    """Return the bundle with a note in the place of what is too large, or is no JSON.

    Bytes become base64. What is small is kept first, so that a picture's text stays with it.
    """
    room = BUNDLE_BYTES
    kept: dict[str, Any] = {}
    notes = []
    for size, kind, value in sorted(map(_weighed, data.items()), key=lambda item: item[0]):
        if size < 0:
            notes.append(f"[not shown: {kind}, for it is no JSON]")
        elif _is_deep(value):
            notes.append(f"[not shown: {kind}, for it is more than {DEPTH} levels deep]")
        elif size > room:
            notes.append(
                f"[not shown: {kind} of {size:,} bytes; a result has room for {BUNDLE_BYTES:,}]"
            )
        else:
            room -= size
            kept[kind] = value
    if notes:
        text = kept.get(TEXT)
        kept[TEXT] = "\n".join([text, *notes] if isinstance(text, str) else notes)
    return {kind: kept[kind] for kind in sorted(kept, key=lambda kind: kind != TEXT)}


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _weighed(item: tuple[object, Any]) -> tuple[int, str, Any]:
    """Return a value's bytes as JSON, -1 where it is none, with its type and itself."""
    kind, value = str(item[0]), item[1]
    if isinstance(value, bytes | bytearray | memoryview):
        value = b64encode(value).decode()
    if isinstance(value, str) and len(value) > BUNDLE_BYTES:
        # Not even looked at: a copy of it may be more than the memory that is left.
        return len(value), kind, None
    try:
        text = json.dumps(value, ensure_ascii=False, default=_simple)
    except (TypeError, ValueError, RecursionError):
        return -1, kind, None
    if not isinstance(value, str):
        value = json.loads(text)
    return len(text.encode(errors="replace")), kind, value


def _simple(value: object) -> object:
    """Return what JSON has for a value that is none of its own, as notebooks do."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(type(value).__name__)
