"""The stream between a session and the supervisor in its container.

What is written goes to the supervisor's standard input. Its standard output carries frames; its
standard error only what went wrong before it could speak.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from services.executor.attached import Attached
from services.executor.direct import Command, DirectUnavailableError
from services.executor.errors import SandboxStartError
from services.executor.interpreter import frames
from services.executor.paths import SANDBOX_UID

logger = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
CLOSE_SECONDS = 1.0
ARGUMENTS = ("python3", "-I", "-B", "/opt/interpreter/program/interpreter/boot.py")
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


COMMAND = Command(ARGUMENTS, SANDBOX_UID, ENVIRONMENT, "/workspace")


class Enterable(Protocol):
    """A running container."""

    async def enter(self, command: Command) -> Attached:
        """Run a command in it, without Docker in between. Raises `DirectUnavailableError`."""

    async def enter_by_docker(self, command: Command) -> Attached:
        """Run a command in it, by Docker. Raises `SandboxStartError`."""


class Link:
    """One supervisor's stream, from its start to its end."""

    def __init__(
        self, attached: Attached, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Own all of it; `open_link` makes one."""
        self._attached = attached
        self._reader = reader
        self._writer = writer

    @property
    def errors(self) -> str:
        """What the supervisor wrote to its standard error; whole once this is closed."""
        return self._attached.errors.decode("utf-8", "replace").strip()

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
                complete = self._attached.feed(data)
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
        self._attached.abort()

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
        await self._attached.aclose()


async def open_link(container: Enterable, setup: frames.Payload) -> tuple[Link, frames.Payload]:
    """Start the supervisor and wait for its interpreter; return what it said of itself.

    Raises `SandboxStartError` with the supervisor's own words.
    """
    try:
        return await _greet(await container.enter(COMMAND), setup)
    except (DirectUnavailableError, SandboxStartError) as error:
        logger.info("going by Docker into the container: %s", error)
    return await _greet(await container.enter_by_docker(COMMAND), setup)


async def _greet(attached: Attached, setup: frames.Payload) -> tuple[Link, frames.Payload]:
    reader, writer = await asyncio.open_connection(sock=attached.socket, limit=4 * READ_BYTES)
    link = Link(attached, reader, writer)
    try:
        link.send(frames.SETUP, setup)
        hello: frames.Payload = {}
        async for kind, body in link.frames():
            if kind == frames.HELLO:
                hello = frames.decode(body)
            elif kind == frames.READY:
                return link, hello
    except BaseException:
        link.abort()
        raise
    await link.aclose()
    msg = f"The interpreter could not be started: {link.errors or 'it ended at once'}"
    raise SandboxStartError(msg)
