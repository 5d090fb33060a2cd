"""A Docker engine apart from the machine's: `python -m tests.support.engines FOLDER` starts it."""

import sys
from pathlib import Path

from ops.engine import Engine
from ops.layout import REPOSITORY
from ops.process import run


def engine_in(folder: Path) -> Engine:
    """An engine whose files are all below `folder`; its path must be short, for the socket."""
    return Engine(
        host=f"unix://{folder}/docker.sock",
        pid_file=folder / "docker.pid",
        exec_root=folder / "exec",
        config=folder / "daemon.json",
        log=folder / "log",
        options=(f"--data-root={folder}/data",),
    )


def start_apart(folder: Path) -> None:
    """Start it in a network namespace of its own: an engine changes bridges that it finds."""
    command = [sys.executable, "-m", "tests.support.engines", str(folder)]
    run(["unshare", "--net", *command], cwd=REPOSITORY)


if __name__ == "__main__":
    engine_in(Path(sys.argv[1])).start_by_hand()
