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
MARK = FOLDER / ".made-from"
LOCK = REPOSITORY / "requirements-dev.lock"


def is_current() -> bool:
    """Whether `.venv` runs and was made from the lock as it is."""
    return stamp.is_current(MARK, stamp.digest([LOCK])) and python.version_of(PYTHON) is not None


def ensure() -> Path:
    """Have `.venv` hold what the lock says; returns its interpreter."""
    uv = Uv().ensure()
    if is_current():
        return PYTHON
    wanted = stamp.digest([LOCK])
    try:
        if python.version_of(PYTHON) is None:
            interpreter = python.find(uv)
            say(f"Making .venv with {interpreter}")
            uv.run("venv", "-q", "--clear", "--python", str(interpreter), str(FOLDER))
        with step("Installing the project's packages"):
            sync(uv, PYTHON, LOCK)
    except CommandError as error:
        raise CannotError(error.reason, "make setup (once the package index answers)") from error
    MARK.write_text(wanted)
    return PYTHON
