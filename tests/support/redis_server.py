"""A real Redis for the tests: Debian's, installed where it is missing, of a test's own."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_UNIX, socket

from tests.support.postgres import install_debian

PROGRAM = "redis-server"
SECONDS = 10.0


@dataclass
class RedisServer:
    """A server at a socket in a folder of its own, which keeps nothing on disk."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def path(self) -> Path:
        """Where it listens."""
        return self.folder / "socket"

    @property
    def url(self) -> str:
        """The address that the product is given."""
        return f"unix://{self.path}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        options = {
            "--port": "0",
            "--unixsocket": str(self.path),
            "--save": "",
            "--dir": str(self.folder),
        }
        command = [PROGRAM, *(part for option in options.items() for part in option)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + SECONDS
        # Its socket is there before it listens.
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{PROGRAM} does not start: {self.process.returncode}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket(AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def stop(self) -> None:
        """End it; what it knew is gone."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Have one for the length of a block."""
    if shutil.which(PROGRAM) is None:
        install_debian(PROGRAM)
    folder = Path(tempfile.mkdtemp(prefix="sba-redis-"))
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
