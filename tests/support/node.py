"""Programs for Node, with their packages, run as a client's own would be."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.postgres import install_debian

RUN_SECONDS = 90


def prepare(source: Path, target: Path) -> Path:
    """Copy a folder with a package.json and install what its lock file names; return the copy."""
    if shutil.which("npm") is None:
        install_debian("nodejs")
        install_debian("npm")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=target, check=True)
    return target


def run(folder: Path, program: str, environment: Mapping[str, str]) -> str:
    """Run a program of the folder to its end; return its standard output."""
    done = subprocess.run(
        ["node", program], cwd=folder, env=environment, capture_output=True,
        timeout=RUN_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
