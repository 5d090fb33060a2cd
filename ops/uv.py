"""uv: installed from its lock into a folder of its own, and set up as the machine's pip is."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ops import apt, stamp
from ops.layout import REPOSITORY
from ops.process import CommandError, run
from ops.say import CannotError, step

TOOLS = REPOSITORY / ".tools"
FOLDER = TOOLS / "uv"
SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
LOCK = REPOSITORY / "requirements-uv.lock"


class Uv:
    """The pinned uv; made by `ensure`."""

    def __init__(self) -> None:
        self.program = FOLDER / "bin" / "uv"

    def ensure(self) -> Uv:
        """Install it where it is not, or where the lock changed; returns itself."""
        mark, wanted = FOLDER / ".made-from", stamp.digest([LOCK])
        if not stamp.is_current(mark, wanted):
            with step("Installing uv"):
                self._install()
            mark.write_text(wanted)
        return self

    def _install(self) -> None:
        base = getattr(sys, "_base_executable", None) or sys.executable
        if importlib.util.find_spec("ensurepip") is None:
            apt.install("python3-venv")
        shutil.rmtree(FOLDER, ignore_errors=True)
        try:
            run([base, "-m", "venv", str(FOLDER)])
            run([*self._pip(), "install", "-q", "--require-hashes", "-r", str(LOCK)])
        except CommandError as error:
            raise CannotError(
                error.reason, f"{base} -m venv {FOLDER} && {FOLDER}/bin/pip install -r {LOCK}"
            ) from error

    def run(self, *arguments: str, timeout: float | None = None) -> str:
        """Standard output of a uv command; raises `CommandError`."""
        return run([str(self.program), *arguments], env=self._environment(), timeout=timeout)

    def _pip(self) -> Sequence[str]:
        return [str(FOLDER / "bin" / "python"), "-m", "pip"]

    def _environment(self) -> dict[str, str]:
        """Ours, and where uv is told nothing of its own, pip's index and authorities."""
        environment = dict(os.environ)
        if SYSTEM_AUTHORITIES.exists():
            environment.setdefault("UV_SYSTEM_CERTS", "true")
        for name, option in (("UV_DEFAULT_INDEX", "index-url"), ("SSL_CERT_FILE", "cert")):
            value = self._pip_option(option)
            if value:
                environment.setdefault(name, value)
        return environment

    def _pip_option(self, option: str) -> str:
        try:
            lines = run([*self._pip(), "config", "list"]).splitlines()
        except CommandError:
            return ""
        values = dict(line.partition("=")[::2] for line in lines)
        for section in (":env:", "install", "global"):
            if f"{section}.{option}" in values:
                return values[f"{section}.{option}"].strip("'\"")
        return ""


def sync(uv: Uv, python: Path, lock: Path) -> None:
    """Make a virtual environment hold what the lock says, and nothing else."""
    uv.run("pip", "sync", "-q", "--python", str(python), "--require-hashes", str(lock))
