"""Paths as text, before the session looks at what is there: relative, or below `/workspace`."""

from services.errors import BadUserInputError
from services.executor.paths import WORKSPACE, normalise
from services.translate import executor_errors


def check_path(path: str, *, folder: bool = False) -> str:
    """Return the path relative to the workspace; `.` for itself where a folder will do.

    Raises `BadUserInputError` for field `path`: what the executor does not take, and what
    can only be a folder where that will not do.
    """
    with executor_errors():
        where = normalise(path)
    if not where.parts and not folder:
        raise _error(f"names the workspace itself: name a file below {WORKSPACE}")
    if path.endswith("/") and not folder:
        raise _error("ends with a slash: name a file, not a folder")
    return where.text


def _error(what: str) -> BadUserInputError:
    return BadUserInputError(f"`path` {what}.", field="path")
