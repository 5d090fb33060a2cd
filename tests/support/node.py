"""Programs for Node, with their packages, run as a client's own would be."""

import asyncio
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
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


async def run_beside(
    folder: Path, command: Sequence[str], environment: Mapping[str, str], seconds: float
) -> str:
    """Run a program while the test's loop goes on to serve it; return its standard output."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(seconds):
            said, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{said.decode()}\n{complaints.decode()}"
    return said.decode()
