"""Paths as text, before the session looks at what is there: relative, or below `/workspace`."""

from services.checks import check_encodable
from services.errors import BadUserInputError
from services.limits import MAX_PATH_BYTES, MAX_PATH_PART_BYTES

WORKSPACE = "/workspace"


def check_path(path: str, *, folder: bool = False) -> str:
    """Return the path relative to the workspace; `.` for itself where a folder will do.

    Raises `BadUserInputError` for field `path`: NUL, `..`, an absolute path outside the
    workspace, or one that is too long.
    """
    encoded = check_encodable(path, "path")
    if "\0" in path:
        raise _error("holds a NUL character: leave it out")
    if len(encoded) > MAX_PATH_BYTES:
        raise _error(f"has {len(encoded)} bytes: {MAX_PATH_BYTES} are allowed")
    parts = [part for part in _below_workspace(path).split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _error(f"holds `..`: name what is below {WORKSPACE} directly")
    if any(len(part.encode()) > MAX_PATH_PART_BYTES for part in parts):
        raise _error(f"has a part of over {MAX_PATH_PART_BYTES} bytes: shorten it")
    if not parts and not folder:
        raise _error(f"names the workspace itself: name a file below {WORKSPACE}")
    if path.endswith("/") and not folder:
        raise _error("ends with a slash: name a file, not a folder")
    return "/".join(parts) or "."


def _below_workspace(path: str) -> str:
    if not path.startswith("/"):
        return path
    if path == WORKSPACE or path.startswith(WORKSPACE + "/"):
        return path.removeprefix(WORKSPACE)
    raise _error(f"is outside the workspace: paths are relative to {WORKSPACE}, or below it")


def _error(what: str) -> BadUserInputError:
    return BadUserInputError(f"`path` {what}.", field="path")
