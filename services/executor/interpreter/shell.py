"""IPython's shell as the sandbox runs it: its output goes to the channel as frames."""

import contextlib
import importlib
import io
import subprocess
import sys
import traceback
import warnings
from typing import Any, NoReturn

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import SList
from traitlets.config import Config

from . import bundles, cells, frames, streams, tracebacks
from .channel import Channel

MOST_CHARACTERS = 15_000
IMPORTED_LATER = ("stack_data", "pygments.formatters.terminal256", "importlib.metadata")
"""By IPython for a traceback, and by `invalidate_caches()`; it would be from the user's folders."""
PIP_HINT = (
    "Use %pip install NAME instead: the sandbox has no network, "
    "the node downloads the wheels for it.\n"
)


def publish(channel: Channel, data: dict[str, Any], **more: object) -> None:
    """Show a mime bundle, after everything printed before it."""
    streams.flush()
    channel.show(frames.DISPLAY, {**more, "bundle": bundles.fit(data)})


class Publisher(DisplayPublisher):
    """`display()` and `clear_output()`."""

    channel: Channel

    def publish(self, data: dict[str, Any], *_args: object, **more: Any) -> None:  # noqa: ANN401
        """Send a bundle; an update names the display that it replaces."""
        transient = more.get("transient") or {}
        display_id = transient.get("display_id")
        known = None if display_id is None else str(display_id)
        publish(self.channel, data, is_result=False, display_id=known)

    def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002
        """Ask readers to clear what was shown."""
        streams.flush()
        self.channel.show(frames.CLEAR, {"wait": bool(wait)})


class Hook(DisplayHook):
    """The value of a cell's last expression."""

    channel: Channel
    _bundle: dict[str, Any] | None = None

    def start_displayhook(self) -> None:
        """Begin with nothing."""
        self._bundle = None

    def write_output_prompt(self) -> None:
        """Show no `Out[n]:`, readers have the number."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: object = None) -> None:
        """Keep the bundle until the value is stored too."""
        del md_dict
        self._bundle = format_dict

    def log_output(self, format_dict: dict[str, Any]) -> None:
        """Keep no copy: figures would fill the memory."""

    def finish_displayhook(self) -> None:
        """Send the value."""
        bundle, self._bundle = self._bundle, None
        if bundle:
            publish(self.channel, bundle, is_result=True, display_id=None)


class Shell(InteractiveShell):
    """An IPython shell whose errors are kept for the reader instead of printed."""

    channel: Channel
    compiler_class = tracebacks.Compiler
    failure: frames.Payload | None = None
    plain_cells: cells.Cells | None = None

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Keep the traceback; `sys.exit` is an end, not an error to show."""
        kind = (exc_tuple or sys.exc_info())[0]
        if isinstance(kind, type) and issubclass(kind, SystemExit):
            return
        error = (exc_tuple or sys.exc_info())[1]
        if error is not None:
            tracebacks.cut_ours(error)
            if tracebacks.holds_group(error):
                self._showtraceback(type(error), error, tracebacks.format_whole(error))
                return
        super().showtraceback(exc_tuple, *args, **kwargs)

    def show_usage_error(self, exc: Any) -> None:  # noqa: ANN401
        """Keep the words of a magic that was used wrongly."""
        self._showtraceback(type(exc), exc, f"{type(exc).__name__}: {exc}")

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:  # noqa: ANN401
        text = "\n".join(stb) if isinstance(stb, list) else str(stb)
        name = str(getattr(etype, "__name__", etype))
        if isinstance(evalue, SyntaxError) and name.startswith("_"):
            # CPython's private subclass for input that only wants more lines.
            text = text.replace(name, "SyntaxError")
            name = "SyntaxError"
        self.failure = {"name": name, "value": _text(evalue), "traceback": _short(text)}

    def taken_failure(self) -> frames.Payload | None:
        """Return the traceback kept last, which is kept no longer."""
        failure, self.failure = self.failure, None
        return failure

    def transform_cell(self, raw_cell: str) -> str:
        """Turn a cell into Python, which most are; lines keep their numbers."""
        blank, cell = cells.split_blank(raw_cell)
        if self.plain_cells is not None and self.plain_cells.is_plain(cell):
            return f"{blank}{cell}" if cell.endswith("\n") else f"{blank}{cell}\n"
        return f"{blank}{super().transform_cell(cell)}"

    def should_run_async(self, raw_cell: str, **more: Any) -> bool:  # noqa: ANN401
        """Say whether a cell is to be run by the event loop."""
        if cells.wants_loop(raw_cell):
            return True
        return cells.has_await(raw_cell) and bool(super().should_run_async(raw_cell, **more))

    def _tee(self, channel: str) -> contextlib.AbstractContextManager[None]:
        """Keep no copy of what is printed, which may be gigabytes."""
        del channel
        return contextlib.nullcontext()

    def _format_exception_for_storage(self, *_args: object, **_more: object) -> dict[str, object]:
        """Keep no second traceback."""
        return {}

    def enable_gui(self, gui: str | None = None) -> None:
        """Take any toolkit's name: figures are shown inline."""
        del gui

    def ask_exit(self) -> NoReturn:
        """End the cell, as `sys.exit(0)` does."""
        raise SystemExit(0)

    def system(self, cmd: str) -> None:
        """Run `!cmd` with the cell's own output."""
        command = self.var_expand(cmd, depth=1)
        streams.flush()
        if _installs(command):
            sys.stderr.write(PIP_HINT)
            self.user_ns["_exit_code"] = 1
            return
        self.user_ns["_exit_code"] = subprocess.call(command, shell=True)  # noqa: S602

    system_piped = system
    system_raw = system

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:  # noqa: ANN401, FBT001, FBT002
        """Run `x = !cmd` and return what it printed."""
        command = self.var_expand(cmd, depth=depth + 1)
        done = subprocess.run(  # noqa: S602
            command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        text = done.stdout.decode("utf-8", "replace")
        return SList(text.splitlines()) if split else text


def _short(text: str) -> str:
    """Keep beginning and end of a text that nobody reads whole."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n[...]\n{text[-MOST_CHARACTERS:]}"


def _text(value: object) -> str:
    try:
        return _short(str(value))
    except Exception:  # noqa: BLE001
        return f"<{type(value).__name__}: its __str__ raised>"


def _installs(command: str) -> bool:
    words = command.split()
    if words[:2] in (["python", "-m"], ["python3", "-m"]):
        words = words[2:]
    return words[:2] in (["pip", "install"], ["pip3", "install"], ["uv", "pip"])


def describe(error: BaseException) -> frames.Payload:
    """Tell of an exception that never came through the shell's own handlers."""
    return {
        "name": type(error).__name__,
        "value": _text(error),
        "traceback": _short("".join(traceback.format_exception_only(error)).rstrip("\n")),
    }


def create() -> Shell:
    """Make the shell: no history file, no colours; `attach` gives it a channel.

    Made once, before the fork that runs the code, because it takes 0.2 s under gVisor.
    """
    warnings.filterwarnings("ignore", "To exit: use", UserWarning)
    # The flushing thread holds no lock at a fork: see streams.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Context"
    shell: Shell = Shell.instance(
        config=config, displayhook_class=Hook, display_pub_class=Publisher
    )
    sys.argv = [""]
    shell.plain_cells = cells.Cells(shell)
    for module in IMPORTED_LATER:
        importlib.import_module(module)
    rehearse(shell, "print()")
    return shell


def attach(channel: Channel) -> None:
    """Send what the shell shows through `channel`."""
    Publisher.channel = Hook.channel = Shell.channel = channel


def rehearse(shell: Shell, cell: str) -> None:
    """Run a cell that leaves nothing behind, but what it has loaded and touched."""
    with contextlib.redirect_stdout(io.StringIO()):
        shell.run_cell(cell, store_history=False)
    shell.taken_failure()
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
