"""What a way into a container gives: a socket, and how to read what comes out of it."""

import socket
import struct
from typing import Protocol

from services.executor.interpreter import frames

ERROR_BYTES = 8 * 1024
STDERR = 2
DOCKER_HEADER = struct.Struct(">BxxxI")


class Attached(Protocol):
    """The streams of a command that runs in a container."""

    socket: socket.socket
    """Written to, it is the command's standard input; who uses it closes it."""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what came out of the socket; return the frames that it completes.

        Raises `frames.FrameError`.
        """

    @property
    def errors(self) -> bytes:
        """What the command has written to its standard error, at most 8 KiB."""

    def abort(self) -> None:
        """Let go of what waits for the command's end."""

    async def aclose(self) -> None:
        """Wait a moment for the command's end, once the socket is closed; idempotent."""


class DockerStream:
    """Docker's: frames from standard output and words from standard error, in one."""

    def __init__(self, attached: socket.socket) -> None:
        """Begin between Docker's headers."""
        self.socket = attached
        self.errors = b""
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

    def abort(self) -> None:
        """Do nothing: Docker waits."""

    async def aclose(self) -> None:
        """Do nothing: Docker waits."""
