"""Running `uv` for a session: unprivileged, apart from the node, bounded and watched."""

import asyncio
import codecs
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from services.executor import jail
from services.executor.jail import Jail
from services.executor.messages import OutputStream
from services.executor.wheels import INSTALLER_UID

WORK = "/install"
"""Where uv finds its own folder."""
INPUT = "/input"
"""Where uv finds what it is given."""
PACKAGES = "/packages"
"""Where uv installs to."""
_CACHE = "/cache"
_FILE_BYTES = 1024 * 1024 * 1024
_END_SECONDS = 5.0
_READ_BYTES = 64 * 1024
_OUTPUT_CHARACTERS = 256 * 1024
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/dev/null", "/dev/urandom"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"),
    # Certificate authorities, of Debian and of others.
    *("/etc/ssl", "/etc/ca-certificates", "/etc/pki"),
    # Names; the last is where resolv.conf points on machines with systemd-resolved.
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf"),
    "/run/systemd/resolve",
)
_UNSAID = ("Using CPython", "Using Python", "Resolved ", "Prepared ", "Installed ", " + ")
"""Lines of the node's own interpreter, and of steps that are not what a user asked for."""

OnOutput = Callable[[OutputStream, str], None]


class UvMissingError(Exception):
    """There is no uv on this node."""


@dataclass(frozen=True, slots=True)
class UvOutcome:
    """How a run ended, with the words that it ended with."""

    exit_code: int
    words: str


class Uv:
    """Runs uv in a folder that only root reaches.

    What uv may write to is below `work` and `packages`, which it can't replace: their parent
    is root's. What it is given is in `input`, which it can't write to.
    """

    def __init__(
        self, folder: Path, cache: Path, index_url: str | None, on_output: OnOutput
    ) -> None:
        """Make the folders. Raises `OSError`."""
        self._cache = cache
        self._index_url = index_url
        self._on_output = on_output
        self._root = folder / "root"
        self.work = folder / "work"
        self.input = folder / "input"
        self.packages = folder / "packages"
        for made in (self._root, self.input, self.work, self.packages):
            made.mkdir(mode=0o755)
        for owned in (self.work, self.packages):
            os.chown(owned, INSTALLER_UID, INSTALLER_UID)

    async def run(self, *arguments: str, watch: Callable[[], Awaitable[None]]) -> UvOutcome:
        """Run uv with these arguments while `watch` runs beside it; what it raises ends uv.

        Cancelling ends uv with all that it started. Raises `UvMissingError`, `OSError`.
        """
        async with self._started(arguments) as process:
            watching = asyncio.ensure_future(watch())
            reading = asyncio.ensure_future(self._read(process))
            try:
                await asyncio.wait({watching, reading}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                words = await reading
                return UvOutcome(await process.wait(), words)
            finally:
                for task in (watching, reading):
                    task.cancel()
                await asyncio.gather(watching, reading, return_exceptions=True)

    @asynccontextmanager
    async def _started(self, arguments: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start uv in its jail, and leave nothing of it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            jail.__file__,
            self._jail(arguments).to_json(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin"},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                await _end(process)

    def _jail(self, arguments: Sequence[str]) -> Jail:
        program = find_uv()
        interpreter = str(Path(sys.base_prefix).resolve())
        seen = (*_SYSTEM, interpreter, *_index_folders(self._index_url))
        python = ("--python", os.path.realpath(sys.executable))
        return Jail(
            command=["/uv", *arguments, *_COMMON_ARGUMENTS, *python],
            environment=self._environment(),
            user=INSTALLER_UID,
            root=str(self._root),
            readable={path: path for path in seen} | {"/uv": str(program), INPUT: str(self.input)},
            writable={
                WORK: str(self.work),
                PACKAGES: str(self.packages),
                _CACHE: str(self._cache),
            },
            file_bytes=_FILE_BYTES,
            parent=os.getpid(),
        )

    def _environment(self) -> Mapping[str, str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": WORK,
            "TMPDIR": WORK,
            "LC_ALL": "C.UTF-8",
            "UV_CACHE_DIR": _CACHE,
        }
        if self._index_url is not None:
            # Not as an argument, which any user of the node could read: it may hold a password.
            environment["UV_DEFAULT_INDEX"] = self._index_url
        return environment

    async def _read(self, process: asyncio.subprocess.Process) -> str:
        """Pass on what uv says, line by line; return what it said from the first error on."""
        assert process.stderr is not None  # noqa: S101 -- it was asked for above
        words = _Words(self._on_output)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await process.stderr.read(_READ_BYTES):
            words.add(decoder.decode(data))
        words.add("\n")
        return words.error


_COMMON_ARGUMENTS = (
    "--only-binary",
    ":all:",
    "--no-config",
    "--system-certs",
    "--no-progress",
    "--color",
    "never",
    "--no-python-downloads",
    "--index-strategy",
    "first-index",
)


class _Words:
    """uv's lines, bounded: what is over the bound is left out."""

    def __init__(self, on_output: OnOutput) -> None:
        self._on_output = on_output
        self._rest = ""
        self._left = _OUTPUT_CHARACTERS
        self.error = ""

    def add(self, text: str) -> None:
        text = text[: max(self._left, 1)]
        self._left -= len(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(line)

    def _say(self, line: str) -> None:
        if line.startswith(_UNSAID) or (not line and not self.error):
            return
        if self.error or line.lstrip().startswith(("error", "\N{MULTIPLICATION SIGN}")):
            self.error = f"{self.error}{line}\n"
            self._on_output(OutputStream.STDERR, f"{line}\n")
        else:
            self._on_output(OutputStream.STDOUT, f"{line}\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a jail and wait until nothing of it is left."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def find_uv() -> Path:
    """Find uv beside this Python, or on the `PATH`. Raises `UvMissingError`."""
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return beside.resolve()
    found = shutil.which("uv")
    if found is None:
        raise UvMissingError("uv is not installed on this node")
    return Path(found).resolve()


def _index_folders(index_url: str | None) -> Sequence[str]:
    """List the folders of an index that is a folder of this machine."""
    address = urlsplit(index_url or "")
    return [url2pathname(address.path)] if address.scheme == "file" else []
