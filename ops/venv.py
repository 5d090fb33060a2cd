"""The project's virtual environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops import python, stamp
from ops.layout import REPOSITORY
from ops.process import CommandError
from ops.say import CannotError, say, step
from ops.uv import Uv, sync

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = REPOSITORY / ".venv"
PYTHON = FOLDER / "bin" / "python"
LOCK = REPOSITORY / "requirements-dev.lock"


def ensure() -> Path:
    """Have `.venv` hold what the lock says; returns its interpreter."""
    uv = Uv().ensure()
    mark, wanted = FOLDER / ".made-from", stamp.digest([LOCK])
    if stamp.is_current(mark, wanted) and python.version_of(PYTHON):
        return PYTHON
    try:
        if python.version_of(PYTHON) is None:
            interpreter = python.find(uv)
            say(f"Making .venv with {interpreter}")
            uv.run("venv", "-q", "--clear", "--python", str(interpreter), str(FOLDER))
        with step("Installing the project's packages"):
            sync(uv, PYTHON, LOCK)
    except CommandError as error:
        raise CannotError(error.reason, "make setup (once the package index answers)") from error
    mark.write_text(wanted)
    return PYTHON
