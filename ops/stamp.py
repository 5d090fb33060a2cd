"""Whether something must be made again: a hash of what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

SHORT = 12


def digest(inputs: Iterable[Path | str]) -> str:
    """Twelve hex digits over files' names and contents, folders' files, and plain texts."""
    whole = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            _add(whole, "text", item.encode())
        elif item.is_dir():
            for file in sorted(path for path in item.rglob("*") if path.is_file()):
                _add(whole, str(file.relative_to(item)), file.read_bytes())
        else:
            _add(whole, item.name, item.read_bytes())
    return whole.hexdigest()[:SHORT]


def _add(whole: hashlib._Hash, name: str, content: bytes) -> None:
    for part in (name.encode(), content):
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)


def is_current(stamp: Path, value: str) -> bool:
    """Whether the stamp says that the thing was made from `value`."""
    return stamp.exists() and stamp.read_text().strip() == value
