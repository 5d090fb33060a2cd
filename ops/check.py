"""`make check`: lint, format, types, layers, the schema, the written-out SQL, the locks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from ops import requirements, venv
from ops.layout import REPOSITORY
from ops.say import say

PROGRAMS = venv.FOLDER / "bin"
SHOWN_BYTES = 20_000
AT_ONCE = 2
# The longest first, so that the others are done beside it.
CHECKS: dict[str, list[str]] = {
    "types": [str(PROGRAMS / "mypy"), "--no-error-summary", "."],
    "lint": [str(PROGRAMS / "ruff"), "check", "--quiet", "."],
    "format": [str(PROGRAMS / "ruff"), "format", "--check", "--quiet", "."],
    "layers": [str(PROGRAMS / "lint-imports"), "--no-logo"],
    "schema": [str(venv.PYTHON), "-m", "app.schema_check"],
    "written-out SQL": [str(venv.PYTHON), "-m", "db.export", "--check"],
}


def check() -> bool:
    """Run all, whichever fail; returns whether none did."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        passed = list(pool.map(_passes, CHECKS.keys(), CHECKS.values()))
    named = requirements.addresses()
    if named:
        say(f"check: lock files FAILED: they name an index or host in {', '.join(named)}")
    return all(passed) and not named


def _passes(name: str, command: list[str]) -> bool:
    # A file, because a fault everywhere prints more than the memory holds.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, check=False
        )
        output.seek(0)
        shown = output.read(SHOWN_BYTES).decode(errors="replace").strip()
    say(f"check: {name} {'is fine' if done.returncode == 0 else 'FAILED'}")
    if done.returncode != 0:
        print(shown, file=sys.stderr, flush=True)
    return done.returncode == 0
