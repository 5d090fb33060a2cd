"""Tests side by side: a stack for each worker, and turns at what the machine has only once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.layout import REPOSITORY
from ops.lock import exclusive

WORKER = "PYTEST_XDIST_WORKER"
LOCKS = REPOSITORY / ".tools"
INSTALLER_LOCK = Path("/run/lock/sandbox-api-tests-apt.lock")


def choose_data_dir(default: str) -> None:
    """Give this worker a DATA_DIR of its own, and so a database, a cluster and an API."""
    base = os.environ.get("DATA_DIR", default)
    worker = os.environ.get(WORKER)
    if worker and not base.endswith(f"-{worker}"):
        base = f"{base}-{worker}"
    os.environ["DATA_DIR"] = base


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Run beside the other worker's tests, or, `alone`, while it runs none.

    Who wants to be alone waits at the door, behind which nobody passes meanwhile.
    """
    LOCKS.mkdir(exist_ok=True)
    with (LOCKS / "tests-door.lock").open("w") as door, (LOCKS / "tests.lock").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


@contextmanager
def installing() -> Iterator[None]:
    """Be the only test that installs Debian's packages: apt-get itself would not wait."""
    with exclusive(INSTALLER_LOCK):
        yield
