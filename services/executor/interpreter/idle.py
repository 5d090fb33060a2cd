"""The time between cells, in which what earlier ones left on the event loop goes on."""

import asyncio
import contextlib
import sys
from collections.abc import Callable

from . import frames, tracebacks
from .channel import Channel
from .loop import CellLoop

STOPPED = "Something stopped the event loop, which goes on for what else runs on it.\n"
RAISED = "What a cell left on the event loop raised; the loop goes on:\n"


class Idle:
    """Waits for the next cell, and has the loop that all of them share."""

    def __init__(self, channel: Channel, leave: Callable[[], None]) -> None:
        """Begin with an unused loop; `leave` ends a forked copy, and does nothing else."""
        self._channel = channel
        self._leave = leave
        self.loop = self._new_loop()

    def _new_loop(self) -> CellLoop:
        loop = CellLoop()
        self._channel.wake = lambda: loop.call_soon_threadsafe(lambda: None)
        return loop

    def next_cell(self) -> frames.Payload:
        """Wait for a cell while the tasks that earlier cells began go on."""
        request = self._channel.take(frames.EXECUTE)
        while request is None:
            if self.loop.is_closed():
                self.loop = self._new_loop()
            if self.loop.wait_unused(self._channel.socket.fileno()):
                request = self._channel.take(frames.EXECUTE)
            else:
                request = self._run_loop()
        return request

    def _run_loop(self) -> frames.Payload | None:
        """Run the loop until a cell comes, whatever is on it does to end it before.

        Returns None where that was to close it, or to cancel all tasks.
        """
        loop, waiting = self.loop, self.loop.create_task(self._wait())
        ended = False

        def end(_: object) -> None:
            nonlocal ended
            ended = True
            loop.stop()

        waiting.add_done_callback(end)
        while not ended and not loop.is_closed():
            reason = STOPPED
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                reason = f"{RAISED}{tracebacks.format_whole(error)}\n"
            self._leave()
            if not waiting.done():
                _tell(reason)
        return None if waiting.cancelled() or not waiting.done() else waiting.result()

    async def _wait(self) -> frames.Payload:
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.socket, readable.set)
        self._channel.wake = lambda: loop.call_soon_threadsafe(readable.set)
        try:
            while True:
                request = self._channel.take(frames.EXECUTE)
                if request is not None:
                    return request
                readable.clear()
                await readable.wait()
        finally:
            loop.remove_reader(self._channel.socket)


def _tell(reason: str) -> None:
    # The code may have closed it, or put nothing in its place.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(reason)
