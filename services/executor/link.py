"""The stream between a session and the supervisor in its container.

One attached `docker exec`: what is written goes to the supervisor's standard input; Docker
multiplexes its standard output, which carries frames, and its standard error, which carries
only what went wrong before it could speak.
"""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator
from typing import Protocol

from services.executor.errors import SandboxStartError
from services.executor.interpreter import frames
from services.executor.paths import SANDBOX_UID

logger = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
CLOSE_SECONDS = 1.0
ERROR_BYTES = 8 * 1024
STDERR = 2
DOCKER_HEADER = struct.Struct(">BxxxI")
COMMAND = ("python3", "-I", "-B", "/opt/interpreter/program/interpreter/boot.py")
ENVIRONMENT = {
    "HOME": "/workspace",
    "IPYTHONDIR": "/tmp/.ipython",  # noqa: S108
    "LANG": "C.UTF-8",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # One CPU: more threads than that only cost address space, which is limited.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Exec(Protocol):
    """A way to run a command in a container with an attached stream."""

    def open_exec(
        self, command: tuple[str, ...], user: str, environment: dict[str, str]
    ) -> "Attached":
        """Start it; blocking."""


class Attached(Protocol):
    """A socket and what must stay alive with it."""

    def fileno(self) -> int:
        """Return the socket's descriptor."""


class Demultiplexer:
    """Take Docker's stream apart: frames out of stdout, text out of stderr."""

    def __init__(self) -> None:
        """Begin between Docker's headers."""
        self.errors = bytearray()
        self._buffer = bytearray()
        self._parser = frames.Parser()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add bytes; return the frames that they complete. Raises `frames.FrameError`."""
        buffer = self._buffer
        buffer += data
        start = 0
        complete: list[tuple[int, bytes]] = []
        while len(buffer) - start >= DOCKER_HEADER.size:
            stream, length = DOCKER_HEADER.unpack_from(buffer, start)
            stop = start + DOCKER_HEADER.size + length
            if stop > len(buffer):
                break
            payload = bytes(buffer[start + DOCKER_HEADER.size : stop])
            start = stop
            if stream == STDERR:
                self.errors += payload[: ERROR_BYTES - len(self.errors)]
            else:
                complete += self._parser.feed(payload)
        del buffer[:start]
        return complete


class Link:
    """One supervisor's stream, from its start to its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Own both ends; `open_link` makes one."""
        self._reader = reader
        self._writer = writer
        self._streams = Demultiplexer()

    @property
    def errors(self) -> str:
        """What the supervisor wrote to its standard error, at most 8 KiB."""
        return self._streams.errors.decode("utf-8", "replace")

    def send(self, kind: int, payload: frames.Payload) -> None:
        """Send a frame; what the sandbox does not take yet is buffered."""
        self._writer.write(frames.encode(kind, payload))

    async def frames(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield frames until the stream ends; a broken frame ends it too."""
        while True:
            try:
                data = await self._reader.read(READ_BYTES)
                if not data:
                    return
                complete = self._streams.feed(data)
            except OSError:
                return
            except frames.FrameError as error:
                logger.warning("the sandbox's stream broke: %s", error)
                return
            for frame in complete:
                yield frame

    def abort(self) -> None:
        """Cut the stream: whoever reads it comes to its end."""
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Close the stream, at which the supervisor ends all that runs; idempotent."""
        self._writer.close()
        try:
            # A stopped supervisor never takes what is still to be sent.
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        except TimeoutError:
            self.abort()
        except OSError as error:
            logger.debug("the sandbox's stream was broken already: %s", error)


async def open_link(container: Exec, setup: frames.Payload) -> tuple[Link, frames.Payload]:
    """Start the supervisor and wait for its interpreter; return what it said of itself.

    Raises `SandboxStartError` with the supervisor's own words.
    """
    user = f"{SANDBOX_UID}:{SANDBOX_UID}"
    attached = await asyncio.to_thread(container.open_exec, COMMAND, user, ENVIRONMENT)
    reader, writer = await asyncio.open_connection(sock=attached, limit=4 * READ_BYTES)
    link = Link(reader, writer)
    link.send(frames.SETUP, setup)
    hello: frames.Payload = {}
    async for kind, body in link.frames():
        if kind == frames.HELLO:
            hello = frames.decode(body)
        elif kind == frames.READY:
            return link, hello
    await link.aclose()
    msg = f"The interpreter could not be started: {link.errors.strip() or 'it ended at once'}"
    raise SandboxStartError(msg)
