"""`make check`: lint, format, types, layers, the schema, the written-out SQL, the locks."""

from __future__ import annotations

from ops import requirements, venv
from ops.layout import REPOSITORY
from ops.process import CommandError, run
from ops.say import say

PROGRAMS = venv.FOLDER / "bin"
CHECKS: dict[str, list[str]] = {
    "lint": [str(PROGRAMS / "ruff"), "check", "--quiet", "."],
    "format": [str(PROGRAMS / "ruff"), "format", "--check", "--quiet", "."],
    "types": [str(PROGRAMS / "mypy"), "--no-error-summary", "."],
    "layers": [str(PROGRAMS / "lint-imports"), "--no-logo"],
    "schema": [str(venv.PYTHON), "-m", "app.schema_check"],
    "written-out SQL": [str(venv.PYTHON), "-m", "db.export", "--check"],
}


def check() -> bool:
    """Run all, whichever fail; returns whether none did."""
    failed = [name for name, command in CHECKS.items() if not _passes(name, command)]
    named = requirements.addresses()
    if named:
        say(f"check: lock files FAILED: they name an index or host in {', '.join(named)}")
    return not failed and not named


def _passes(name: str, command: list[str]) -> bool:
    try:
        run(command, cwd=REPOSITORY)
    except CommandError as error:
        say(f"check: {name} FAILED\n{error.output.strip()}")
        return False
    say(f"check: {name} is fine")
    return True
