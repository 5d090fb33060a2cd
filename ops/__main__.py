"""`python3 -m ops VERB`: what the Makefile's targets do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

from ops import api, api_image, setup, venv
from ops.check import check
from ops.image import Base
from ops.layout import REPOSITORY, Layout
from ops.lock import MACHINE_LOCK, exclusive
from ops.privileges import require_root
from ops.process import CommandError
from ops.requirements import lock
from ops.say import CannotError, warn
from ops.settings import Settings
from ops.stop import stop
from ops.uv import Uv

OLDEST_PYTHON = (3, 9)
TEST_DATA_DIR = ".data-test"
# Tests wait more than they work: two cores serve three workers, each with a stack of its own.
TEST_LANES = 3


def _setup(_: Sequence[str]) -> int:
    settings = Settings.read()
    setup.prepare_machine(settings)
    setup.prepare_pages(settings)
    setup.start_services(settings)
    return 0


def _run(_: Sequence[str]) -> int:
    settings = Settings.read()
    # Before the set-up, which takes minutes the first time.
    api.require_place(settings)
    setup.prepare_machine(settings)
    setup.prepare_pages(settings)
    setup.start_services(settings)
    api.serve(settings)
    return 0


def _node(_: Sequence[str]) -> int:
    setup.prepare_machine(Settings.read())
    return 0


def _image(_: Sequence[str]) -> int:
    with exclusive(MACHINE_LOCK):
        engine, base = setup.prepare_engine(Settings.read())
        api_image.build(engine, Uv().ensure(), Base.probe(engine, base))
    return 0


def _test(arguments: Sequence[str]) -> int:
    os.environ.setdefault("DATA_DIR", TEST_DATA_DIR)
    settings = Settings.read()
    setup.prepare_python()
    # The set-up waits more than it works.
    with ThreadPoolExecutor(1) as beside:
        checked = beside.submit(check)
        setup.prepare_machine(settings)
        setup.prepare_pages(settings)
    try:
        return 0 if checked.result() and _pytest(arguments) == 0 else 1
    finally:
        for layout in _test_layouts(settings):
            stop(layout)


def _pytest(arguments: Sequence[str]) -> int:
    if arguments:
        return _python("pytest", *arguments)
    lanes = ("--numprocesses", str(TEST_LANES), "--dist", "loadfile", "--no-loadscope-reorder")
    return _python("pytest", "-m", "not long", *lanes)


def _test_layouts(settings: Settings) -> list[Layout]:
    """The instances that tests use: one in this process, or one a worker of pytest's."""
    base = settings.layout.data_dir
    return [settings.layout] + [
        Layout.of(f"{base}-gw{number}")
        for number in range(TEST_LANES)
        if Path(f"{base}-gw{number}").exists()
    ]


def _check(_: Sequence[str]) -> int:
    setup.prepare_python()
    return 0 if check() else 1


def _format(_: Sequence[str]) -> int:
    setup.prepare_python()
    return _python("ruff", "check", "--fix", "--quiet", ".") | _python("ruff", "format", ".")


def _lock(arguments: Sequence[str]) -> int:
    os.chdir(REPOSITORY)
    lock(Uv().ensure(), upgrade="--upgrade" in arguments)
    return 0


def _stop(_: Sequence[str]) -> int:
    stop(Settings.read().layout)
    return 0


def _bench(arguments: Sequence[str]) -> int:
    return _setup(()) or _python("bench", *arguments)


def _of_the_project(module: str) -> Callable[[Sequence[str]], int]:
    def verb(arguments: Sequence[str]) -> int:
        setup.prepare_python()
        return _python(module, *arguments)

    return verb


def _python(module: str, *arguments: str) -> int:
    done = subprocess.run([str(venv.PYTHON), "-m", module, *arguments], cwd=REPOSITORY, check=False)
    return done.returncode


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "setup": _setup,
    "run": _run,
    "node": _node,
    "image": _image,
    "test": _test,
    "check": _check,
    "fmt": _format,
    "lock": _lock,
    "stop": _stop,
    "bench": _bench,
    "token": _of_the_project("app.token"),
    "demo": _of_the_project("app.demo"),
}
WITHOUT_ROOT = ("check", "fmt", "lock")


def main(arguments: Sequence[str]) -> int:
    """Run a verb; 1 where it can't be done, after one line that says what would help."""
    verb = VERBS.get(arguments[0]) if arguments else None
    if verb is None or sys.version_info < OLDEST_PYTHON:
        warn(f"usage, with Python 3.9 or newer: python3 -m ops {'|'.join(VERBS)}")
        return 2
    # Many images set it to stay small; here every process would compile for seconds.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # So that what is under way is cleaned up; the server gets its own handlers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if arguments[0] not in WITHOUT_ROOT:
            require_root(arguments)
        return verb(arguments[1:])
    except (CannotError, CommandError, ValueError) as error:
        if isinstance(error.__cause__, CommandError):
            warn(str(error.__cause__))
        warn(str(error))
        return 1
    except PermissionError as error:
        warn(str(CannotError(f"{error}.", f"sudo make {arguments[0]}")))
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
