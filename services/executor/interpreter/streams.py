"""The code's `sys.stdout`, `sys.stderr` and `sys.stdin`."""

import codecs
import ctypes
import io
import os
import sys
import threading
import time
from collections.abc import Callable

BUFFER_BYTES = 64 * 1024
FLUSH_SECONDS = 0.015
"""How long unflushed output waits at the most while the code goes on."""


_libc = ctypes.CDLL(None)
REPLACEMENT = "\ufffd".encode()


def _replace(error: UnicodeError) -> tuple[bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        return REPLACEMENT * (error.end - error.start), error.end
    raise error


class OutputText(io.TextIOWrapper):
    """Text over a descriptor, flushed by the code or soon after."""

    def __init__(self, descriptor: int, name: str, dirty: threading.Event) -> None:
        """Write UTF-8 to `descriptor`; lone surrogates go out as U+FFFD."""
        raw = io.FileIO(descriptor, "w", closefd=False)
        buffered = io.BufferedWriter(raw, BUFFER_BYTES)
        super().__init__(buffered, encoding="utf-8", errors="sandbox-replace", newline="\n")
        self._label = name
        self._dirty = dirty

    @property
    def name(self) -> str:
        """The name that tracebacks and libraries show."""
        return self._label

    def write(self, text: str, /) -> int:
        """Buffer the text, and have it flushed soon."""
        written = super().write(text)
        if not self._dirty.is_set():
            self._dirty.set()
        return written

    def close(self) -> None:
        """Flush only: the descriptor outlives whoever closes its text."""
        self.flush()


class InputText(io.TextIOBase):
    """Lines that the reader of the execution answers, as `input()` does."""

    def __init__(self, ask: Callable[[str], str]) -> None:
        """`ask(prompt)` returns one line without its end."""
        self._ask = ask

    def readline(self, _size: int | None = -1, /) -> str:  # type: ignore[override]
        """Ask for one line."""
        return self._ask("") + "\n"

    def readable(self) -> bool:
        """Say yes."""
        return True

    def close(self) -> None:
        """Stay open: `exit()` closes its standard input."""


def install(ask: Callable[[str], str]) -> tuple[OutputText, OutputText]:
    """Put the streams in place and flush them in the background; return the two outputs."""
    codecs.register_error("sandbox-replace", _replace)
    dirty = threading.Event()
    flushing = threading.Lock()
    stdout = OutputText(1, "<stdout>", dirty)
    stderr = OutputText(2, "<stderr>", dirty)
    sys.stdout = sys.__stdout__ = stdout  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stderr  # type: ignore[misc]
    sys.stdin = InputText(ask)
    thread = threading.Thread(
        target=_flush_soon, args=(dirty, flushing, (stdout, stderr)), name="flush", daemon=True
    )
    thread.start()

    def before_fork() -> None:
        flushing.acquire()
        flush(stdout, stderr)

    # A fork in the middle of a flush would leave the copy with a lock that nobody frees.
    os.register_at_fork(
        before=before_fork, after_in_parent=flushing.release, after_in_child=flushing.release
    )
    return stdout, stderr


def flush(*outputs: OutputText) -> None:
    """Flush what the code has left in the buffers; a closed descriptor is the code's affair.

    C's own streams are flushed too: what programs in C print belongs where it was printed.
    """
    _libc.fflush(None)
    for output in (sys.stdout, sys.stderr, *outputs):
        try:
            output.flush()
        except (OSError, ValueError, AttributeError):
            continue


def _flush_soon(
    dirty: threading.Event, flushing: threading.Lock, outputs: tuple[OutputText, OutputText]
) -> None:
    while True:
        dirty.wait()
        time.sleep(FLUSH_SECONDS)
        dirty.clear()
        with flushing:
            flush(*outputs)
