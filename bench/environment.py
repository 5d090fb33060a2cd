"""The peers' environment: made from its lock, apart from the project's own."""

import sys

from ops import stamp
from ops.layout import REPOSITORY
from ops.lock import REPOSITORY_LOCK, exclusive
from ops.process import CommandError
from ops.say import CannotError, step
from ops.uv import TOOLS, Uv, sync

FOLDER = TOOLS / "bench-peers"
PYTHON = FOLDER / "bin" / "python"
MARK = FOLDER / ".made-from"
LOCK = REPOSITORY / "bench" / "requirements-peers.lock"


def ensure() -> None:
    """Have the environment hold what the lock says. Raises `CannotError`."""
    wanted = stamp.digest([LOCK, sys.version])
    if stamp.is_current(MARK, wanted):
        return
    with exclusive(REPOSITORY_LOCK):
        uv = Uv().ensure()
        try:
            with step("Installing what is measured beside the project"):
                uv.run("venv", "-q", "--clear", "--python", sys.executable, str(FOLDER))
                sync(uv, PYTHON, LOCK)
        except CommandError as error:
            raise CannotError(error.reason, "make bench, once PyPI answers") from error
        MARK.write_text(wanted)
