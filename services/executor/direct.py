"""The short way into a container of gVisor's: `runsc exec`, with a socket of the actor's own.

In Docker's stream every byte passes two more processes, the daemon and the container's shim.
Here the sandbox reads and writes a socket whose other end is the actor's: a third less time to
the first output. It takes what a node has that runs its own Docker: root, and the sandbox's
process among its own. Where that is not so, Docker's way is there.
"""

import asyncio
import json
import os
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from services.executor.attached import ERROR_BYTES
from services.executor.interpreter import frames
from services.executor.sandbox_process import command_line, is_sandbox

FLAGS = (b"--root=", b"--network=")
"""What runsc has to be told again as the container was begun with it."""
BUFFER_BYTES = 1024 * 1024
CLOSE_SECONDS = 1.0


class DirectUnavailableError(Exception):
    """This container can't be entered so from here."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run in a container, and as whom."""

    arguments: Sequence[str]
    uid: int
    """User and group."""
    environment: Mapping[str, str]
    folder: str


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where to find a running container."""

    container_id: str
    pid: int
    """The process that is the sandbox, on the machine of its Docker."""
    environment: Mapping[str, str]
    """What every command in it is given."""


class DirectStream:
    """Frames by a socket, and words by the process on the node that ends with the command."""

    def __init__(self, ours: socket.socket, process: Process) -> None:
        """Own both; `run_direct` makes one."""
        self.socket = ours
        self.errors = b""
        self._process = process
        self._parser = frames.Parser()
        self._end = asyncio.create_task(self._follow(), name="runsc exec")

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add bytes; return the frames that they complete. Raises `frames.FrameError`."""
        return self._parser.feed(data)

    def abort(self) -> None:
        """End the process, though not what it has run in the container."""
        if self._process.returncode is None:
            self._process.kill()

    async def aclose(self) -> None:
        """Wait a moment for the end of the command, and take its last words; idempotent."""
        await asyncio.wait([self._end], timeout=CLOSE_SECONDS)
        self.abort()

    async def _follow(self) -> None:
        stderr = self._process.stderr
        while stderr is not None and (words := await stderr.read(ERROR_BYTES)):
            self.errors += words[: ERROR_BYTES - len(self.errors)]
        await self._process.wait()


async def run_direct(entrance: Entrance, command: Command) -> DirectStream:
    """Run a command in a running container, its descriptors 0 and 1 one socket.

    Raises `DirectUnavailableError` where the sandbox's process is not one of gVisor's on this
    machine, or is not ours to enter.
    """
    flags = await asyncio.to_thread(_flags, entrance.pid)
    with ExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.callback(theirs.close)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        # By a descriptor: the file is gone with the last process that has it open.
        file = os.memfd_create("process.json")
        stack.callback(os.close, file)
        os.write(file, _process(entrance, command).encode())
        try:
            process = await asyncio.create_subprocess_exec(
                f"/proc/{entrance.pid}/exe",
                *flags,
                "exec",
                f"--process=/proc/self/fd/{file}",
                entrance.container_id,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=PIPE,
                env={"PATH": os.defpath},
                pass_fds=[file],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise DirectUnavailableError(str(error)) from error
        except BaseException:
            ours.close()
            raise
    return DirectStream(ours, process)


def _process(entrance: Entrance, command: Command) -> str:
    """Write it as the OCI's `process` object, with no rights beyond the user's own."""
    environment = {**entrance.environment, **command.environment}
    return json.dumps(
        {
            "args": list(command.arguments),
            "user": {"uid": command.uid, "gid": command.uid},
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": command.folder,
            "capabilities": {},
            "noNewPrivileges": True,
        }
    )


def _flags(sandbox_pid: int) -> list[str]:
    """Return the flags by which runsc finds the container again."""
    words = command_line(sandbox_pid)
    if not is_sandbox(words):
        msg = "the container's process is not gVisor's, or not one of this machine"
        raise DirectUnavailableError(msg)
    return [os.fsdecode(word) for word in words if word.startswith(FLAGS)]
