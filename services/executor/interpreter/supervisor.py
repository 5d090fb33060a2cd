"""The process that holds the stream to the node and forks the interpreter.

It never runs the user's code. Output of the code's descriptors 1 and 2 comes to it by pipes,
so nothing that was written is lost when the interpreter dies, and it is forked again from
here, with all imports done, in milliseconds. It is of the sandbox's uid like the code. Not
dumpable, it can't be traced or read; but code may kill it, which ends the container, and open
its descriptors by `/proc`, which gVisor does not keep from it: frames may be forged.
"""

import contextlib
import ctypes
import os
import platform
import selectors
import signal
import sys

from . import frames, processes
from .child import PIPE_BYTES, PR_SET_DUMPABLE, READ_BYTES, Child, Handler, Run
from .memory import MEMORY_SECONDS, MemoryLimit

HIGH_WATER = 512 * 1024
"""Above this many bytes on their way to the node, nothing more is taken from the code."""
PASSED = frames.ANSWERED | {frames.ERROR, frames.DONE, frames.WITHDRAWN}


class Supervisor:
    """One stream to the node, one interpreter at a time."""

    def __init__(self, run: Run) -> None:
        """Serve on descriptors 0 and 1; `run` is the interpreter's main, called in the fork."""
        self._run = run
        self._in = os.dup(0)
        self._out = os.dup(1)
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._outgoing = bytearray()
        self._commands = frames.Parser()
        self._selector = selectors.DefaultSelector()
        self._setup: frames.Payload = {}
        self._child: Child | None = None
        self._generation = 0
        self._serving = True
        self._memory = MemoryLimit()
        self._busy = False
        self._run_given = 0
        """The number of the execution that an interpreter was given last."""

    def serve(self) -> None:
        """Pump frames until the node's end of the stream is closed."""
        self._protect()
        self._selector.register(self._in, selectors.EVENT_READ, self._read_commands)
        while self._serving:
            self._step()
        processes.end_all_others()

    def _protect(self) -> None:
        """Keep the code out of this process, and its descriptors away from 0, 1 and 2."""
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(null, descriptor)
        os.close(null)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._selector.register(wake_read, selectors.EVENT_READ, self._reap)

    def _step(self) -> None:
        events = selectors.EVENT_WRITE if self._outgoing else 0
        self._watch(self._out, events, self._flush)
        child = self._child
        if child is not None:
            wanted = selectors.EVENT_READ if len(self._outgoing) < HIGH_WATER else 0
            for descriptor, handler in child.handlers(self.read_control, self.read_output):
                self._watch(descriptor, wanted, handler)
            if child.incoming and child.control not in child.closed:
                self._watch(child.control, wanted | selectors.EVENT_WRITE, self.read_control)
        looking = self._busy or self._memory.due
        for key, _ in self._selector.select(MEMORY_SECONDS if looking else None):
            if key.fd in self._selector.get_map():
                key.data(key.fd)
        if (self._busy or self._memory.due) and self._child is not None:
            self._memory.follow(self._child.pid)

    def _watch(self, descriptor: int, events: int, handler: Handler) -> None:
        registered = self._selector.get_map().get(descriptor)
        if registered is None:
            if events:
                self._selector.register(descriptor, events, handler)
        elif not events:
            self._selector.unregister(descriptor)
        elif registered.events != events or registered.data != handler:
            self._selector.modify(descriptor, events, handler)

    # The node's side.

    def _read_commands(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._serving = False
            return
        for kind, body in self._commands.feed(data):
            self._command(kind, body)

    def _command(self, kind: int, body: bytes) -> None:
        child = self._child
        if kind == frames.SETUP:
            self._setup = frames.decode(body)
            self._send(frames.encode(frames.HELLO, _hello()))
            self._start_child()
        elif kind == frames.REPLACE:
            self._replace()
        elif kind == frames.COUNT:
            self._send(frames.encode(frames.COUNTED, {"processes": processes.count()}))
        elif kind == frames.SURVEY:
            self._send(frames.encode(frames.SURVEYED, _survey()))
        elif kind == frames.INTERRUPT and child is not None:
            # The frame first: where the signal is too early, it is what is found.
            child.give(kind, body)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)
        elif kind == frames.EXECUTE:
            self._execute(body)
        elif kind in (frames.INPUT, frames.INSTALLED) and child is not None:
            child.give(kind, body)

    def _execute(self, body: bytes) -> None:
        child = self._child or self._fork()
        child.run_given = self._run_given = frames.run_of(body)
        self._busy = True
        self._memory.begin()
        if child.started:
            child.give(frames.EXECUTE, body)
        else:
            # Not before its memory is limited: it sets limits of its own as it starts.
            child.waiting = body

    def _send(self, frame: bytes) -> None:
        self._outgoing += frame
        self._flush(self._out)

    def _flush(self, _descriptor: int) -> None:
        outgoing = self._outgoing
        try:
            while outgoing:
                with memoryview(outgoing) as view, view[:READ_BYTES] as part:
                    written = os.write(self._out, part)
                del outgoing[:written]
        except BlockingIOError:
            return
        except OSError:
            self._serving = False

    # The interpreter's side.

    def _start_child(self) -> None:
        self._fork()
        self._generation += 1
        self._send(frames.encode(frames.READY, {"generation": self._generation}))

    def _fork(self) -> Child:
        self._busy = False
        self._memory = MemoryLimit(int(self._setup.get("memory_bytes") or 0))
        self._child = child = Child(self._run, self._setup, self._selector)
        self._memory.look(child.pid)
        return child

    def _replace(self) -> None:
        """End every process but the init and this one, and fork a fresh interpreter."""
        processes.end_all_others()
        child, self._child = self._child, None
        if child is not None:
            self._drain(child)
            child.close(self._selector)
        self._start_child()

    def read_output(self, descriptor: int) -> None:
        """Take what is in a pipe of the code's, and send it on."""
        child = self._child
        if child is not None:
            self._pump(child, descriptor)

    def _pump(self, child: Child, descriptor: int) -> int:
        try:
            data = os.read(descriptor, READ_BYTES)
        except (BlockingIOError, OSError):
            return 0
        if not data:
            self._watch(descriptor, 0, self.read_output)
            child.closed.add(descriptor)
            return 0
        stream = b"\x01" if descriptor == child.stdout else b"\x02"
        self._send(frames.pack(frames.OUTPUT, stream + data))
        return len(data)

    def _drain(self, child: Child) -> None:
        """Send what the code has written until now: bounded by what two pipes can hold."""
        for descriptor in (child.stdout, child.stderr):
            taken = 0
            while descriptor not in child.closed and taken <= PIPE_BYTES:
                count = self._pump(child, descriptor)
                if not count:
                    break
                taken += count

    def read_control(self, _descriptor: int) -> None:
        """Exchange frames with the interpreter; its own go on after what it printed before."""
        child = self._child
        if child is None:
            return
        child.write()
        for kind, body in child.read():
            self._drain(child)
            if kind in PASSED:
                self._send(frames.pack(kind, body))
            if kind == frames.STARTED:
                self._started(child)
            elif kind == frames.DONE:
                self._busy = False
                self._memory.end(child.pid)
            elif kind in frames.ANSWERED:
                child.relayed()

    def _started(self, child: Child) -> None:
        child.started = True
        self._memory.look(child.pid)
        if child.waiting is not None:
            child.give(frames.EXECUTE, child.waiting)
            child.waiting = None

    def _reap(self, descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, READ_BYTES)
        child = self._child
        if child is None:
            return
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = child.pid, 0
        if pid:
            self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: Child, exit_code: int) -> None:
        """The interpreter is dead: send the last of it, say so, and fork another.

        One that died before it had begun would do so again: the next is forked when needed.
        """
        self.read_control(child.control)
        self._drain(child)
        processes.end_all_others()
        self._child = None
        child.close(self._selector)
        if child.started:
            died = {"exit_code": exit_code, "run": self._run_given}
            self._send(frames.encode(frames.DIED, died))
            self._start_child()
        else:
            self._busy = False
            self._tell_not_started(child.run_given, exit_code)

    def _tell_not_started(self, run: int | None, exit_code: int) -> None:
        if run is None:
            return
        error = {
            "name": frames.NOT_STARTED,
            "value": f"The interpreter ended as it started, {_how(exit_code)}: "
            "what it wrote is in the output.",
        }
        self._send(frames.encode(frames.ERROR, error))
        done = {"run": run, "exit_code": 1, "raised": frames.NOT_STARTED}
        self._send(frames.encode(frames.DONE, done))


def _how(exit_code: int) -> str:
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    known = {number.value: number.name for number in signal.Signals}
    return f"by {known.get(-exit_code, f'signal {-exit_code}')}"


def _hello() -> frames.Payload:
    return {
        "python": platform.python_version(),
        "libc": list(platform.libc_ver()),
        "machine": platform.machine(),
    }


def _survey() -> frames.Payload:
    """List the distributions that the image itself brings."""
    from importlib import metadata

    paths = [path for path in sys.path if path.startswith("/usr")]
    found = metadata.distributions(path=paths)
    return {"packages": {str(dist.name): str(dist.version) for dist in found}}
