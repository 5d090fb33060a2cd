"""The interpreter process: takes one cell after the other from the channel and runs it."""

import asyncio
import builtins
import contextlib
import getpass
import importlib
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NoReturn

from IPython.core.error import UsageError

from . import frames, pip, streams
from . import shell as shells
from .channel import Channel
from .clones import Clones
from .idle import Idle

LIBRARY = "/opt/interpreter/lib"
PROMPT_CHARACTERS = 4096
STACK_BYTES = 2 * 1024 * 1024
"""Of a thread: at the usual 8 MiB, fifty of them would take the address space that there is."""
IDLE_SECONDS = 0.3
"""Without a cell for so long after its start, the interpreter prepares for what may come."""
PACKAGES = "/packages/current"
WORKSPACE = "/workspace"


def prepare() -> Callable[[socket.socket, frames.Payload], None]:
    """Do before the fork what need not be done after it; return the interpreter's main."""
    shell = shells.create()
    return lambda control, setup: run(shell, control, setup)


def run(shell: shells.Shell, control: socket.socket, setup: frames.Payload) -> None:
    """Serve as the interpreter until the supervisor ends it."""
    os.environ.update({str(k): str(v) for k, v in dict(setup.get("environment") or {}).items()})
    # Started there, and without a right to enter it the code could not give itself one.
    with contextlib.suppress(OSError):
        os.chdir(WORKSPACE)
    sys.path[:] = _search_path(sys.path)
    threading.stack_size(STACK_BYTES)
    Interpreter(Channel(control), shell).serve()


def _search_path(path: list[str]) -> list[str]:
    """Look in the workspace, the standard library, installed packages, the image's, ours."""
    standard = [entry for entry in path if not entry.endswith("-packages")]
    return ["", *standard, PACKAGES, *(entry for entry in path if entry not in standard), LIBRARY]


class Interpreter:
    """One shell, one event loop, one cell at a time."""

    def __init__(self, channel: Channel, shell: shells.Shell) -> None:
        """Put streams, input, signals and the shell in place."""
        self._channel = channel
        self._outputs = streams.install(self.ask)
        self._idle = Idle(channel, self._leave)
        self._packages: object = 0
        self._clones = Clones()
        self._numbers = itertools.count(1)
        self._shell = shell
        shells.attach(channel)
        self._shell.loop_runner = self._run_coroutine
        self._shell.register_magic_function(self.pip, "line", "pip")
        ends = dict.fromkeys(("exit", "quit"), _exit)
        self._shell.user_ns.update(ends)
        self._shell.user_ns_hidden.update(ends)
        builtins.input = self._input
        getpass.getpass = lambda prompt="Password: ", *_a, **_k: self.ask(prompt, password=True)
        channel.install_handler()

    def serve(self) -> None:
        """Run cells until the process is ended; a forked copy that comes here ends itself."""
        # What is the user's must not end the interpreter before there is a cell to tell of it.
        with contextlib.suppress(Exception, SystemExit):
            self.warm()
        self._channel.send(frames.STARTED, {})
        while True:
            self._leave()
            request = self._idle.next_cell()
            with contextlib.suppress(KeyboardInterrupt):
                self._cell(request)

    def _leave(self) -> None:
        """End this process if it is a copy that the code forked and let come out of its frame."""
        if self._channel.foreign:
            streams.flush(*self._outputs)
            self._clones.leave()
            os._exit(0)

    def warm(self) -> None:
        """Do beforehand what the first cell and the first traceback would wait for.

        A fork's memory is copied as it is touched, which takes 30 ms for the first cell.
        """
        shells.rehearse(self._shell, "print()")
        if not self._channel.readable(IDLE_SECONDS):
            importlib.invalidate_caches()
            shells.rehearse(self._shell, "1 / 0")

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
        """Run a cell with a top-level await; an interrupt cancels it."""
        task = self._idle.loop.create_task(coroutine)
        try:
            return self._idle.loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
                self._idle.loop.run_until_complete(task)
            raise

    def _cell(self, request: frames.Payload) -> None:
        outcome: frames.Payload = {"run": request.get("run"), "exit_code": 1}
        try:
            self._channel.begin(request.get("run"))
            with _environment(request.get("environment") or {}):
                self._prepare(request)
                if request.get("shell"):
                    outcome["exit_code"] = self._command(str(request.get("code")))
                else:
                    outcome |= self._code(str(request.get("code")))
            self._channel.idle = True
        except BaseException as error:  # noqa: BLE001
            self._channel.idle = True
            # The shell's own handlers were cut short: by an interrupt, or for want of memory.
            self._channel.send(frames.ERROR, shells.describe(error))
            stopped = isinstance(error, KeyboardInterrupt)
            outcome |= {"exit_code": 130 if stopped else 1, "raised": type(error).__name__}
        if self._channel.foreign:
            return
        streams.flush(*self._outputs)
        self._clones.end()
        self._channel.send(frames.DONE, outcome)

    def _prepare(self, request: frames.Payload) -> None:
        asyncio.set_event_loop(self._idle.loop)
        packages = request.get("packages")
        if packages != self._packages:
            self._packages = packages
            importlib.invalidate_caches()

    def _command(self, command: str) -> int:
        return subprocess.run(command, shell=True, check=False).returncode  # noqa: S602

    def _code(self, code: str) -> frames.Payload:
        shell = self._shell
        shell.failure = None
        result = shell.run_cell(code, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        count = {"execution_count": result.execution_count}
        if error is None:
            self._tell_of(shell.taken_failure())
            return {"exit_code": 0, **count}
        if isinstance(error, SystemExit):
            return {"exit_code": _exit_code(error), **count}
        failure = shell.taken_failure() or shells.describe(error)
        if not self._channel.foreign:
            streams.flush(*self._outputs)
            self._channel.send(frames.ERROR, failure)
        raised = type(error).__name__
        return {"exit_code": 130 if raised == "KeyboardInterrupt" else 1, "raised": raised, **count}

    def _tell_of(self, failure: frames.Payload | None) -> None:
        """Print what failed beside the code, such as a `__repr__` that raised."""
        if failure is not None:
            sys.stderr.write(f"{failure['traceback']}\n")

    def ask(self, prompt: str, *, password: bool = False) -> str:
        """Ask whoever reads the execution for one line."""
        streams.flush(*self._outputs)
        number = next(self._numbers)
        question = {
            "number": number,
            "prompt": str(prompt)[:PROMPT_CHARACTERS],
            "password": password,
        }
        try:
            self._channel.show(frames.ASK, question)
            answer = self._channel.wait(frames.INPUT, number)
        except BaseException:
            self._channel.send(frames.WITHDRAWN, {"number": number})
            raise
        if "refused" in answer:
            raise EOFError(str(answer["refused"]))
        return str(answer.get("text", ""))

    def _input(self, prompt: object = "", /) -> str:
        return self.ask(str(prompt))

    def pip(self, line: str) -> None:
        """Install packages: `%pip install [-q] [-U] NAME ...`; the node downloads the wheels."""
        quiet, upgrade, names = pip.parse(line)
        streams.flush(*self._outputs)
        number = next(self._numbers)
        wish = {"number": number, "requirements": names, "upgrade": upgrade, "quiet": quiet}
        self._channel.show(frames.INSTALL, wish)
        answer = self._channel.wait(frames.INSTALLED, number)
        importlib.invalidate_caches()
        if not answer.get("ok"):
            raise UsageError(str(answer.get("message")))


def _exit(code: object = None) -> NoReturn:
    raise SystemExit(code)


def _exit_code(error: SystemExit) -> int:
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


@contextlib.contextmanager
def _environment(variables: Mapping[str, object]) -> Iterator[None]:
    """Set variables for one cell, and put back what they covered."""
    covered = {name: os.environ.get(name) for name in variables}
    try:
        os.environ.update({str(name): str(value) for name, value in variables.items()})
        yield
    finally:
        for name, value in covered.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
