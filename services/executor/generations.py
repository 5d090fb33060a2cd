"""The packages of a session: generations of one folder, of which `current` names the one in use.

A generation is complete before it is seen and never changes. Code that runs finds modules
through the link `current`, so it imports from the new one at once; the generation before stays
until the next installation for whoever resolved a path into it.
"""

import fcntl
import json
import logging
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.failures import InstallRunningError, UnsafePackagesError
from services.executor.removal import remove_tree

logger = logging.getLogger(__name__)

_CURRENT = "current"
_EMPTY = "g0"
_FRESH = "fresh-"
_SCRIPTS = "bin"
_SHEBANG_BYTES = 512
_PORTABLE_SHEBANG = b"#!/usr/bin/env python3\n"


@dataclass(frozen=True, slots=True)
class PackageState:
    """What a generation was made from; names are canonical."""

    requested: Mapping[str, str] = field(default_factory=dict)
    """Requirements as they are in force, by name."""
    resolved: Mapping[str, str] = field(default_factory=dict)
    """Versions of these and of all they need, by name; the image's own among them."""
    copied: Mapping[str, str] = field(default_factory=dict)
    """Those of `resolved` that are in the folder."""
    target: str = ""
    """The Python and the platform that these are for; empty where nobody has noted it."""


class Fresh:
    """An empty folder for the host alone to install in, with a lock against other processes.

    Both methods block.
    """

    def __init__(self, install: Path, clean: Callable[[], None]) -> None:
        self.folder = install / f"{_FRESH}{secrets.token_hex(8)}"
        self._install = install
        self._clean = clean
        self._locked: int | None = None

    def open(self) -> None:
        """Remove leftovers and generations out of use, and make the folder.

        Raises `InstallRunningError` while another process has one open.
        """
        lock = os.open(self._install, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(lock)
        except BaseException:
            os.close(lock)
            raise
        self._locked = lock
        self._clean()
        self.folder.mkdir(mode=0o700)

    def close(self) -> None:
        """Remove what was not adopted, and let others install. Idempotent."""
        if self._locked is None:
            return
        try:
            _remove(self.folder)
        except OSError as error:
            # What is adopted is in place: the next installation removes the rest.
            logger.warning("an installation's leftovers are not removed: %s", error)
        finally:
            os.close(self._locked)
            self._locked = None


class Generations:
    """The folder `packages` that the sandbox sees, with `install` beside it for the host alone."""

    def __init__(self, packages: Path, install: Path) -> None:
        """Name the folders, which must exist; `ensure` makes what is in them."""
        self._packages = packages
        self._install = install

    def ensure(self) -> None:
        """Make `current` name a generation, an empty one at first."""
        if not (self._packages / _CURRENT).is_symlink():
            (self._packages / _EMPTY).mkdir(mode=0o755, exist_ok=True)
            self._point_to(_EMPTY)

    def state(self) -> PackageState:
        """Read what the generation in use was made from."""
        try:
            text = self._state_file(self._current()).read_text()
        except FileNotFoundError:
            return PackageState()
        return PackageState(**json.loads(text))

    def fresh(self) -> "Fresh":
        """Return a folder to install in, which is to be opened first."""
        return Fresh(self._install, self._clean)

    def adopt(self, made: Path, state: PackageState) -> None:
        """Make an installed folder the generation in use, its content root's and plain.

        Raises `UnsafePackagesError`; then the old generation stays in use.
        """
        _settle(made)
        before = self._current()
        name = f"g{int(before.removeprefix('g')) + 1}"
        _remove(self._packages / name)
        made.rename(self._packages / name)
        self._write_state(name, state)
        self._point_to(name)
        self._state_file(before).unlink(missing_ok=True)

    def note(self, state: PackageState) -> None:
        """Record a new state of the generation in use, whose content stays."""
        self._write_state(self._current(), state)

    def _current(self) -> str:
        return (self._packages / _CURRENT).readlink().name

    def _point_to(self, name: str) -> None:
        link = self._packages / f".{_CURRENT}"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.rename(self._packages / _CURRENT)

    def _state_file(self, name: str) -> Path:
        return self._install / f"{name}.json"

    def _write_state(self, name: str, state: PackageState) -> None:
        unfinished = self._install / f".{name}.json"
        unfinished.write_text(
            json.dumps(
                {
                    "requested": dict(state.requested),
                    "resolved": dict(state.resolved),
                    "copied": dict(state.copied),
                    "target": state.target,
                }
            )
        )
        unfinished.rename(self._state_file(name))

    def _clean(self) -> None:
        """Remove what crashed installations left, and generations that are out of use."""
        kept = {_CURRENT, self._current()}
        for entry in self._packages.iterdir():
            if entry.name not in kept:
                _remove(entry)
        for entry in self._install.iterdir():
            if entry.name.startswith(_FRESH):
                _remove(entry)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InstallRunningError(
            "Another installation runs in this sandbox: try again when it has ended."
        ) from error


def _settle(made: Path) -> None:
    """Make all below root's, readable for everybody, with no mode bits beyond that."""
    for folder, folders, files in os.walk(made):
        os.chown(folder, 0, 0)
        Path(folder).chmod(0o755)
        for name in (*folders, *files):
            entry = Path(folder) / name
            mode = entry.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UnsafePackagesError(
                    f"A package holds {name!r}, which is neither a file nor a folder: "
                    "leave that package out."
                )
            os.chown(entry, 0, 0)
            entry.chmod(0o755 if mode & 0o111 else 0o644)
    (made / ".lock").unlink(missing_ok=True)
    _make_scripts_portable(made / _SCRIPTS)


def _make_scripts_portable(scripts: Path) -> None:
    """Let commands name the sandbox's Python, not the node's by which they were written."""
    if not scripts.is_dir():
        return
    for script in scripts.iterdir():
        if not script.is_file():
            continue
        with script.open("rb") as file:
            first = file.readline(_SHEBANG_BYTES)
            rest = file.read() if first.startswith(b"#!/") and b"python" in first else None
        if rest is not None:
            script.write_bytes(_PORTABLE_SHEBANG + rest)


def _remove(path: Path) -> None:
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        remove_tree(parent, os.fsencode(path.name))
    finally:
        os.close(parent)
