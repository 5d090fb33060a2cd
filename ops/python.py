"""A Python for the virtual environment: one that is there, else one that can be had."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ops import apt
from ops.process import CommandError, run, works
from ops.say import CannotError, step

if TYPE_CHECKING:
    from ops.uv import Uv

# Of those that the project supports the first is the one it is developed on.
SUPPORTED = ("3.12", "3.13")
PROBE = "import ssl, sqlite3, ctypes, sys; print('%d.%d' % sys.version_info[:2])"
DOWNLOAD_SECONDS = 300.0


def find(uv: Uv) -> Path:
    """Path of a supported interpreter; raises `CannotError` with how to get one."""
    return _present() or _from_apt() or _from_uv(uv)


def _present() -> Path | None:
    found: dict[str, Path] = {}
    for candidate in candidates():
        version = version_of(candidate)
        if version is not None:
            found.setdefault(version, candidate)
    return next((found[version] for version in SUPPORTED if version in found), None)


def candidates() -> Iterator[Path]:
    """Interpreters that may be on this machine, newest first within a place.

    pyenv's are looked at where they are: its shims answer only for the selected version.
    """
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for folder in sorted((root / "versions").glob("3.*"), key=_release, reverse=True):
        yield folder / "bin" / "python3"
    for version in SUPPORTED:
        named = shutil.which(f"python{version}")
        if named:
            yield Path(named)
    for plain in (shutil.which("python3"), "/usr/bin/python3", "/usr/local/bin/python3"):
        if plain:
            yield Path(plain)


def _release(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def version_of(interpreter: Path) -> str | None:
    """`3.12`, say, where it runs and has what the project needs of it; else None."""
    if not interpreter.exists():
        return None
    try:
        version = run([str(interpreter), "-I", "-c", PROBE], timeout=20.0).strip()
    except CommandError:
        return None
    return version if version in SUPPORTED else None


def _from_apt() -> Path | None:
    for version in SUPPORTED:
        if works(["apt-cache", "show", f"python{version}"]):
            apt.install(f"python{version}", f"python{version}-venv")
            return _present()
    return None


def _from_uv(uv: Uv) -> Path:
    version = SUPPORTED[0]
    with step(f"Fetching Python {version} with uv"):
        try:
            uv.run("python", "install", "-q", version, timeout=DOWNLOAD_SECONDS)
            return Path(uv.run("python", "find", "--managed-python", version).strip())
        except CommandError as error:
            raise CannotError(
                f"No Python {' or '.join(SUPPORTED)} is here, and none could be fetched.",
                f"pyenv install {version}",
            ) from error
