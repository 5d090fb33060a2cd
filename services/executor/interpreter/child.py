"""The forked interpreter, as the supervisor holds it."""

import contextlib
import ctypes
import fcntl
import os
import resource
import selectors
import signal
import socket
import traceback
from collections.abc import Callable
from typing import Any

from . import frames

PIPE_BYTES = 1024 * 1024
READ_BYTES = 128 * 1024
READS = 16
PR_SET_DUMPABLE = 4
F_SETPIPE_SZ = 1031
DESCRIPTORS = 256
"""More than the supervisor ever opens; whatever lies above is closed for the code."""

Run = Callable[[socket.socket, dict[str, Any]], None]
Handler = Callable[[int], None]


class Child:
    """The forked interpreter, its two pipes and its control socket."""

    def __init__(self, run: Run, setup: frames.Payload, selector: selectors.BaseSelector) -> None:
        """Fork; the child never returns from here."""
        out_read, out_write = _pipe()
        err_read, err_write = _pipe()
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                selector.close()
                ours.close()
                _become_interpreter(out_write, err_write, theirs.fileno(), setup)
                run(theirs, setup)
            except BaseException:  # noqa: BLE001 # there is nobody else to tell
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(1)
        for descriptor in (out_write, err_write):
            os.close(descriptor)
        theirs.close()
        ours.setblocking(False)
        self.stdout = out_read
        self.stderr = err_read
        self.started = False
        """Whether it has come so far that it takes cells."""
        self.waiting: bytes | None = None
        """The cell that it is given then."""
        self.run_given: int | None = None
        """The execution that it was given last."""
        self.shown = 0
        """How many of its frames that are answered have come."""
        self.incoming = bytearray()
        self.closed: set[int] = set()
        self._socket = ours
        self.control = ours.fileno()
        self._parser = frames.Parser()

    def handlers(self, control: Handler, output: Handler) -> list[tuple[int, Handler]]:
        """Return what to watch for reading, and who reads it."""
        watched = ((self.control, control), (self.stdout, output), (self.stderr, output))
        return [(descriptor, by) for descriptor, by in watched if descriptor not in self.closed]

    def give(self, kind: int, body: bytes) -> None:
        """Give the interpreter a frame, once it takes it."""
        self.incoming += frames.pack(kind, body)
        self.write()

    def relayed(self) -> None:
        """Tell the interpreter that one more of its frames is on its way."""
        self.shown += 1
        self.incoming += frames.encode(frames.RELAYED, {"shown": self.shown})
        self.write()

    def write(self) -> None:
        """Give the interpreter what it can take of its commands."""
        incoming = self.incoming
        try:
            while incoming:
                with memoryview(incoming) as view, view[:READ_BYTES] as part:
                    sent = self._socket.send(part)
                del incoming[:sent]
        except BlockingIOError:
            return
        except OSError:
            incoming.clear()

    def read(self) -> list[tuple[int, bytes]]:
        """Return the frames that have come whole; a broken one ends the interpreter."""
        taken: list[tuple[int, bytes]] = []
        try:
            # Bounded, for code may send without end; what is left is read the next time.
            for _ in range(READS):
                data = self._socket.recv(READ_BYTES)
                if not data:
                    break
                taken += self._parser.feed(data)
            else:
                return taken
            self.closed.add(self.control)
        except BlockingIOError:
            return taken
        except (OSError, frames.FrameError):
            self.closed.add(self.control)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return taken

    def close(self, selector: selectors.BaseSelector) -> None:
        """Close the descriptors; reap the process where that is still to do."""
        for descriptor in (self.stdout, self.stderr, self.control):
            if selector.get_map().get(descriptor) is not None:
                selector.unregister(descriptor)
        os.close(self.stdout)
        os.close(self.stderr)
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with contextlib.suppress(OSError):
        fcntl.fcntl(write, F_SETPIPE_SZ, PIPE_BYTES)
    return read, write


def _become_interpreter(stdout: int, stderr: int, keep: int, setup: frames.Payload) -> None:
    """Take the pipes as 1 and 2, an own session for signals, and the limits."""
    os.setsid()
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for name, value in dict(setup.get("rlimits") or {}).items():
        limit = getattr(resource, name)
        resource.setrlimit(limit, (int(value), int(value)))
    # The code must not find the stream to the node among its descriptors.
    os.closerange(3, keep)
    os.closerange(keep + 1, DESCRIPTORS)
