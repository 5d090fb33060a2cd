"""The lock files: made anew by `make lock`, looked at by `make check`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ops.layout import REPOSITORY
from ops.process import CommandError
from ops.say import CannotError, step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ops.uv import Uv

# What is locked, from what, and for which Python at least.
LOCKS: dict[str, Sequence[str]] = {
    "requirements.lock": ("pyproject.toml", "--python-version", "3.12"),
    "requirements-dev.lock": ("pyproject.toml", "--group", "dev", "--python-version", "3.12"),
    "requirements-uv.lock": ("requirements-uv.in", "--python-version", "3.9"),
    "requirements-interpreter.lock": (
        "requirements-interpreter.in",
        "--overrides",
        "requirements-interpreter.overrides",
        "--python-version",
        "3.11",
    ),
    "sandbox/requirements.lock": ("sandbox/requirements.in", "--python-version", "3.12"),
    "bench/requirements-peers.lock": (
        "bench/requirements-peers.in",
        "--python-version",
        "3.12",
    ),
}
ADDRESS = re.compile(r"https?://|--(extra-)?index-url|--find-links")


def lock(uv: Uv, *, upgrade: bool) -> None:
    """Resolve all; versions that still fit stay, unless `upgrade` asks for the newest."""
    for name, source in LOCKS.items():
        with step(f"Resolving {name}"):
            try:
                uv.run(
                    "pip", "compile", "-q", "--universal", "--generate-hashes",
                    "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate",
                    *(["--upgrade"] if upgrade else []), *source, "-o", name,
                )  # fmt: skip
            except CommandError as error:
                raise CannotError(error.reason, "make lock") from error


def addresses(root: Path = REPOSITORY) -> list[str]:
    """Lines of lock files that name an index or host, as `file:line`: there must be none."""
    return [
        f"{name}:{number}"
        for name in LOCKS
        for number, line in enumerate((root / name).read_text().splitlines(), 1)
        if ADDRESS.search(line)
    ]
