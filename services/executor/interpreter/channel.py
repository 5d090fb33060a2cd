"""The interpreter's end of the control socket: one frame at a time, whoever sends it.

User code interrupts, forks and threads around it, so a frame is never sent or read by
halves, and a forked copy of the process neither sends nor reads.
"""

import os
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType

from . import frames

READ_BYTES = 64 * 1024
LONGEST_WAIT_SECONDS = 0.05
"""Until the inbox is looked at again: another thread may have read what is waited for."""
KEPT_FRAMES = 64
"""Of a kind, for whoever waits for them: answers to what was interrupted stay behind."""


class Channel:
    """Send frames, and wait for replies, from any thread of this process."""

    def __init__(self, control: socket.socket) -> None:
        """Own the socket; descriptors of forks are closed at once."""
        control.setblocking(False)
        self.socket = control
        self.wake: Callable[[], object] = lambda: None
        self._pid = os.getpid()
        self._parser = frames.Parser()
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._inbox: dict[int, deque[frames.Payload]] = {}
        self._shown = 0
        self._relayed = 0
        self._guards = 0
        self._interrupted = False
        self.idle = True
        """While no cell runs, an interrupt is late and means nothing."""
        self._main = threading.main_thread()
        os.register_at_fork(after_in_child=self._forget)

    @property
    def foreign(self) -> bool:
        """Whether this process is a forked copy, which must not serve."""
        return os.getpid() != self._pid

    def _forget(self) -> None:
        self.socket.close()
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, or do so once the frame under way is whole."""
        if self.idle:
            return
        if self._guards:
            self._interrupted = True
        else:
            raise KeyboardInterrupt

    def install_handler(self) -> None:
        """Take SIGINT for this process."""
        signal.signal(signal.SIGINT, self.on_interrupt)

    def _enter(self) -> None:
        if threading.current_thread() is self._main:
            self._guards += 1

    def _leave(self) -> None:
        if threading.current_thread() is not self._main:
            return
        self._guards -= 1
        if self._interrupted and not self._guards:
            self._interrupted = False
            if not self.idle:
                raise KeyboardInterrupt

    def send(self, kind: int, payload: frames.Payload) -> int:
        """Send a frame whole; waits while the node takes nothing.

        Returns how many that are answered have been sent.
        """
        if self.foreign:
            return 0
        frame = memoryview(frames.encode(kind, payload))
        self._enter()
        try:
            with self._writing:
                self._shown += kind in frames.ANSWERED
                shown = self._shown
                while frame:
                    try:
                        frame = frame[self.socket.send(frame) :]
                    except BlockingIOError:
                        select.select([], [self.socket], [])
        finally:
            self._leave()
        return shown

    def take(self, kind: int, number: int | None = None) -> frames.Payload | None:
        """Read what has come, without waiting, and return the oldest frame of a kind.

        With a number, return the one that answers what was asked under it.
        """
        self._enter()
        try:
            self._receive()
            waiting = self._inbox.get(kind, ())
            for payload in tuple(waiting):
                if number is None or payload.get("number") == number:
                    self._inbox[kind].remove(payload)
                    return payload
            return None
        finally:
            self._leave()

    def _receive(self) -> None:
        """Read what has come, unless another thread is at it."""
        if self._reading.acquire(blocking=False):
            try:
                self._read()
            finally:
                self._reading.release()

    def _is_relayed(self, shown: int) -> bool:
        """Whether so many frames that are answered are on their way."""
        self._enter()
        try:
            self._receive()
            return self._relayed >= shown
        finally:
            self._leave()

    def _read(self) -> None:
        while True:
            try:
                data = self.socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                os._exit(0)
            for kind, body in self._parser.feed(data):
                payload = frames.decode(body)
                if kind == frames.RELAYED:
                    self._relayed = max(self._relayed, int(payload["shown"]))
                    continue
                self._inbox.setdefault(kind, deque(maxlen=KEPT_FRAMES)).append(payload)
                if kind == frames.EXECUTE and threading.current_thread() is not self._main:
                    self.wake()
            if len(data) < READ_BYTES:
                # That was all: whoever waits for more looks again, and a look costs.
                return

    def begin(self, run: object) -> None:
        """Take interrupts for this cell from now on; raise one that has come already.

        Its signal was too early: something else kept the cell from beginning.
        """
        self.idle = False
        while (payload := self.take(frames.INTERRUPT)) is not None:
            if payload.get("run") == run:
                self.idle = True
                raise KeyboardInterrupt

    def readable(self, seconds: float) -> bool:
        """Whether something comes within so many seconds."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def wait(self, kind: int, number: int | None = None) -> frames.Payload:
        """Wait for what `take` returns; an interrupt ends the wait."""
        while True:
            payload = self.take(kind, number)
            if payload is not None:
                return payload
            self.readable(LONGEST_WAIT_SECONDS)

    def show(self, kind: int, payload: frames.Payload) -> None:
        """Send a frame in its place between what was printed before and what comes after."""
        if self.foreign:
            return
        shown = self.send(kind, payload)
        while not self._is_relayed(shown):
            self.readable(LONGEST_WAIT_SECONDS)
