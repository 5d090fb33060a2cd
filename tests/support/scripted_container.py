"""A container that is a script: for ends and delays that no real one has when a test wants them.

It speaks the frames of the interpreter's supervisor over a socket pair; what a real one does is
claimed by the tests of sessions, in tests/integration.
"""

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress

from services.executor.direct import Command
from services.executor.errors import SandboxStartError
from services.executor.interpreter import frames

LOOK_SECONDS = 0.005

Send = Callable[[int, frames.Payload], None]
Answer = Callable[["ScriptedContainer", int, Send], Coroutine[None, None, None]]
"""What runs code: given the container, the run's number, and how to send frames."""


async def succeed(_container: "ScriptedContainer", run: int, send: Send) -> None:
    """Run code that does nothing."""
    send(frames.DONE, {"run": run, "exit_code": 0, "execution_count": run})


async def go_on(_container: "ScriptedContainer", _run: int, _send: Send) -> None:
    """Run code that does not end."""
    await asyncio.Event().wait()


class ScriptedStream:
    """The streams of its supervisor; closing them takes `closing_seconds`."""

    def __init__(self, outer: socket.socket, closing_seconds: float) -> None:
        self.socket = outer
        self.errors = b""
        self._closing_seconds = closing_seconds
        self._parser = frames.Parser()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames that the bytes complete."""
        return self._parser.feed(data)

    def abort(self) -> None:
        """Nothing waits for its end."""

    async def aclose(self) -> None:
        """Take the time that a command takes to end."""
        await asyncio.sleep(self._closing_seconds)


class ScriptedContainer:
    """Runs each code as `answer` does; `die` ends it from outside."""

    def __init__(
        self,
        answer: Answer = succeed,
        *,
        closing_seconds: float = 0.0,
        starting_seconds: float = 0.0,
    ) -> None:
        self.running = False
        self.made = 0
        """Containers until now."""
        self.ran: list[tuple[int, str]] = []
        """Which code ran in which of them."""
        self._answer = answer
        self._received: defaultdict[int, asyncio.Queue[frames.Payload]]
        self._received = defaultdict(asyncio.Queue)
        self.deaf = False
        """Whether it leaves questions without an answer."""
        self.starting = asyncio.Event()
        self._closing_seconds = closing_seconds
        self._starting_seconds = starting_seconds
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # What a test does to it.

    def die(self) -> None:
        """End from outside."""
        self.running = False
        self._cut()

    async def received(self, kind: int) -> frames.Payload:
        """Wait for the next frame of a kind."""
        return await self._received[kind].get()

    # What the session does with it.

    def ensure(self) -> None:
        """Make it run."""
        if not self.running:
            self._loop.call_soon_threadsafe(self.starting.set)
            time.sleep(self._starting_seconds)
            self.running = True
            self.made += 1

    def kill(self) -> None:
        """End it."""
        self.running = False
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def forgive_memory(self) -> None:
        """Nothing to forgive."""

    def ran_out_of_memory(self) -> bool:
        """Never."""
        return False

    def memory_in_use(self) -> int:
        """Nothing."""
        return 0

    def ended(self, seconds: float) -> bool:
        """Wait until this one has ended."""
        number, until = self.made, time.monotonic() + min(seconds, 1.0)
        while time.monotonic() < until:
            if not self.running or self.made != number:
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def cause_of_death(self) -> str:
        """Say which it was."""
        return f"container {self.made} ended"

    async def enter(self, command: Command) -> ScriptedStream:
        """Have a supervisor in it."""
        del command
        if not self.running:
            raise SandboxStartError("no container")
        outer, inner = socket.socketpair()
        outer.setblocking(False)  # noqa: FBT003 # no keyword is taken
        reader, self._writer = await asyncio.open_connection(sock=inner)
        self.spawn(self._supervise(reader, self._writer))
        return ScriptedStream(outer, self._closing_seconds)

    async def enter_by_docker(self, command: Command) -> ScriptedStream:
        """Do the same."""
        return await self.enter(command)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Go on with something beside."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Leave nothing behind."""
        self.die()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _supervise(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = frames.Parser()

        def send(kind: int, payload: frames.Payload) -> None:
            writer.write(frames.encode(kind, payload))

        with suppress(OSError):
            while data := await reader.read(64 * 1024):
                for kind, body in parser.feed(data):
                    self._take(kind, frames.decode(body), send)
        writer.close()

    def _take(self, kind: int, payload: frames.Payload, send: Send) -> None:
        self._received[kind].put_nowait(payload)
        if kind == frames.SETUP:
            send(frames.HELLO, {})
            send(frames.READY, {})
        elif kind == frames.REPLACE:
            send(frames.READY, {})
        elif kind == frames.COUNT and not self.deaf:
            send(frames.COUNTED, {"processes": 3})
        elif kind == frames.EXECUTE:
            run, code = payload["run"], payload["code"]
            assert isinstance(run, int)
            assert isinstance(code, str)
            self.ran.append((self.made, code))
            self.spawn(self._answer(self, run, send))
