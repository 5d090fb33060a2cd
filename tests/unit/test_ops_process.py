"""Running tools, and ending processes."""

import subprocess
import sys

import pytest

from ops.process import CommandError, end, run, started_at, tool
from ops.say import CannotError


def test_a_failed_command_says_what_it_said() -> None:
    """The error has the last lines, and the last of them as its reason."""
    script = "import sys; print('first'); print('the reason', file=sys.stderr); sys.exit(3)"

    with pytest.raises(CommandError, match="first") as caught:
        run([sys.executable, "-c", script])

    assert caught.value.code == 3
    assert caught.value.reason.endswith("the reason")


def test_a_missing_command_and_an_endless_one_are_errors_too() -> None:
    """Callers have one error to think of."""
    with pytest.raises(CommandError, match="127"):
        run(["no-such-program"])
    with pytest.raises(CommandError, match="no end after"):
        run(["sleep", "60"], timeout=0.1)
    assert tool("no-such-program") is None


def test_what_ignores_the_first_signal_gets_the_second() -> None:
    """A process that does not heed SIGTERM is ended all the same."""
    script = (
        "import signal, time; signal.signal(15, signal.SIG_IGN);"
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        end([process.pid], grace_seconds=0.2)

        assert started_at(process.pid) is None
        assert process.wait() == -9


def test_what_can_not_be_done_is_one_line() -> None:
    """Problem and remedy stand in one line, whatever the problem's text was."""
    assert str(CannotError("It is\n  so.", "do this.")) == "It is so. To fix it: do this."
