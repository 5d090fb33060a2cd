"""Paths of a workspace: what a caller may name, and how names of untrusted code are shown."""

from dataclasses import dataclass

from services.executor.errors import InvalidPathError

SANDBOX_UID = 61017
"""User and group of everything in a workspace; no account of the host has it."""
WORKSPACE = "/workspace"
"""Where the workspace is inside the container."""
ROOT = "."
"""The workspace itself, as a normalised path."""
MAX_PATH_BYTES = 4095
"""PATH_MAX of Linux without its closing NUL."""
MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class WorkspacePath:
    """A path whose text is sound: relative, without `..`, within the kernel's lengths."""

    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The path with `/` between parts, `.` for the workspace itself."""
        return "/".join(self.parts) or ROOT

    @property
    def raw(self) -> bytes:
        """The path as the kernel takes it."""
        return self.text.encode()

    @property
    def parent(self) -> "WorkspacePath":
        """The folder that holds it; the workspace's is the workspace."""
        return WorkspacePath(self.parts[:-1])

    @property
    def name(self) -> str:
        """The last part; `.` for the workspace itself."""
        return self.parts[-1] if self.parts else ROOT

    def child(self, name: str) -> str:
        """Return the text of an entry's path in this folder."""
        return "/".join((*self.parts, name))


def normalise(path: str) -> WorkspacePath:
    """Read a caller's path: relative to the workspace, or absolute below `/workspace`.

    Raises `InvalidPathError` for NUL, `..`, a path outside, text that is not UTF-8, and
    lengths over the kernel's. Says nothing about what is there.
    """
    if len(path) > MAX_PATH_BYTES:
        raise InvalidPathError(f"A path can't be over {MAX_PATH_BYTES} bytes.")
    if "\0" in path:
        raise InvalidPathError("A path can't contain a NUL character.")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise InvalidPathError(
            f"A path can't contain '..': name a path relative to the workspace ({WORKSPACE})."
        )
    if path.startswith("/"):
        if parts[:1] != (WORKSPACE.removeprefix("/"),):
            raise InvalidPathError(
                f"The path is outside the workspace: use one relative to it, or below {WORKSPACE}."
            )
        parts = parts[1:]
    _check_lengths(parts)
    return WorkspacePath(parts)


def _check_lengths(parts: tuple[str, ...]) -> None:
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError as error:
        raise InvalidPathError(
            "A path must be whole characters: it holds half a surrogate pair."
        ) from error
    if any(length > MAX_NAME_BYTES for length in lengths):
        raise InvalidPathError(f"A name in a path can't be over {MAX_NAME_BYTES} bytes.")
    if sum(lengths) + len(lengths) - 1 > MAX_PATH_BYTES:
        raise InvalidPathError(f"A path can't be over {MAX_PATH_BYTES} bytes.")


def shown_name(raw: bytes) -> str:
    """Show a name that untrusted code chose: bytes that are not UTF-8 become U+FFFD.

    Such an entry is listed but can't be named by a caller; deleting its folder removes it.
    """
    return raw.decode("utf-8", "replace")
