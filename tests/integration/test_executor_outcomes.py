"""What comes of code in a real sandbox: its output unharmed, its value, its error, its exit."""

import pytest

from services.executor.messages import (
    Cleared,
    Display,
    ExecutionStatus,
    Finished,
    Output,
    Queued,
    Started,
)
from tests.support.sessions import Desk

FAILED, SUCCEEDED = ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED


async def test_events_come_in_their_order(desk: Desk) -> None:
    """Queued, started, output and value in the order they happened, then the end."""
    run = await desk.run("import sys\nprint('a'); print('b', file=sys.stderr); print('c'); 1 + 1")

    kinds = [type(event) for event in run.events]
    assert kinds[:2] == [Queued, Started]
    assert kinds[-2:] == [Display, Finished]
    assert [event.seq for event in run.events] == list(range(1, len(run.events) + 1))
    assert (run.stdout, run.stderr, run.result) == ("a\nc\n", "b\n", "2")
    assert run.finished.exit_code == 0
    assert not run.finished.interpreter_restarted


@pytest.mark.parametrize(
    "text",
    [
        "'''", '"""',
        "\\", "\\n\\t\\x00\\", "\\'\\\"", "{}{0}%s%%$HOME`id`", "\r\n\r", "\x00\x01\x7f",
        "日本語 \U0001f600 e\u0301 \u202e \u2028 \x85", "\ufeff", "\uffff\U0010ffff",
        "<script>&amp;",
    ],
)  # fmt: skip
async def test_code_and_output_come_through_as_they_are(desk: Desk, text: str) -> None:
    """Quotes, backslashes, control characters and any Unicode run and print unharmed."""
    literal = ascii(text)
    raw = text if text.isprintable() and "\\" not in text and "'" not in text else "plain"
    run = await desk.run(f"text = {literal}\nprint(text, end='')\nassert {raw!r} == '{raw}'")

    assert run.succeeded().stdout == text


async def test_triple_quotes_and_backslashes_in_source(desk: Desk) -> None:
    """Source that uses every kind of quoting means what it means in a file."""
    source = r'''
text = """one '' \\ "two" \n""" + \
    '\t\x41' + rb'\d'.decode() + r"C:\new" + f"{'x'}"
'''
    namespace: dict[str, str] = {}
    exec(source, namespace)  # noqa: S102 # what a file would mean
    (await desk.run(source)).succeeded()

    assert await desk.value("text") == repr(namespace["text"])


async def test_lone_surrogates_are_replaced(desk: Desk) -> None:
    """Text that UTF-8 has no form for is shown with U+FFFD, and breaks nothing."""
    run = await desk.run("print('a\\ud800b'); 'c'")

    assert run.succeeded().stdout == "a\ufffdb\n"


async def test_a_megabyte_of_code_runs(desk: Desk) -> None:
    """Code of a megabyte runs unharmed, in one line or in many."""
    filler = "# é'''\\\n" * 60_000
    run = await desk.run(f"total = 1\n{filler}total += 1\nprint(total)")
    long = await desk.run(f"text = '{'x' * 1_000_000}'\nlen(text)")

    assert run.succeeded().stdout == "2\n"
    assert long.succeeded().result == "1000000"


async def test_bytes_of_every_value_are_output(desk: Desk) -> None:
    """Bytes that are no text become U+FFFD, those that are come through, cut anywhere."""
    run = await desk.run(
        "import os, time\nraw = ('é😀' * 50_000).encode()\n"
        "for start in range(0, len(raw), 997): os.write(1, raw[start:start + 997])\n"
        "os.write(2, bytes(range(256)));"
    )

    assert run.succeeded().stdout == "é😀" * 50_000
    assert run.stderr == bytes(range(256)).decode("utf-8", "replace")


async def test_programs_and_c_code_write_where_python_does(desk: Desk) -> None:
    """Output of subprocesses, shell commands and C's own stdio is the execution's."""
    run = await desk.run(
        "import ctypes, subprocess\nprint('python', flush=True)\n"
        "subprocess.run(['echo', 'program'])\n"
        "!echo shell; echo error >&2\n"
        "ctypes.CDLL(None).puts(b'c'); ctypes.CDLL(None).fflush(None);"
    )

    assert run.succeeded().stdout == "python\nprogram\nshell\nc\n"
    assert run.stderr == "error\n"


@pytest.mark.parametrize(
    ("code", "value"),
    [("6 * 7", "42"), ("'é'", "'é'"), ("None", None), ("x = 1", None), ("6 * 7;", None)],
)
async def test_the_last_expression_is_the_value(desk: Desk, code: str, value: str | None) -> None:
    """The value of the last expression is shown, as a notebook would; None and `;` show none."""
    run = (await desk.run(code)).succeeded()

    shown = [event.data.bundle["text/plain"] for event in run.events if isinstance(event, Display)]
    assert shown == ([] if value is None else [value])


async def test_a_value_whose_repr_raises(desk: Desk) -> None:
    """A value that can't be shown is told of, and harms nothing."""
    code = "class Shy:\n    def __repr__(self): raise ValueError('no look')\nShy()"
    run = await desk.run(code)

    assert "no look" in run.succeeded().stderr
    assert await desk.value("1 + 1") == "2"


async def test_a_traceback_is_the_codes_own(desk: Desk) -> None:
    """An error names cell and line and shows the source; no frame of ours, no escapes."""
    run = await desk.run("def f(n):\n    return 1 / n\n\nf(0)")
    error = run.error

    assert run.status is FAILED
    assert run.finished.exit_code == 1
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero")
    assert "Cell In[" in error.traceback
    assert "line 4" in error.traceback
    assert "line 2" in error.traceback
    assert "return 1 / n" in error.traceback
    assert error.traceback.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "/opt/interpreter" not in error.traceback
    assert "\x1b" not in repr(run.events)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("1 +", "SyntaxError"),
        ("def f(:", "SyntaxError"),
        ("  x = 1\n y = 2", "IndentationError"),
        ("raise KeyError('\x1b[31mred')", "KeyError"),
        ("def f(): f()\nf()", "RecursionError"),
        ("raise type('Odd', (BaseException,), {})('very')", "Odd"),
        ("raise ExceptionGroup('several', [ValueError(1), TypeError(2)])", "ExceptionGroup"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
        ("%nosuchmagic", "UsageError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import nosuchmodule", "ModuleNotFoundError"),
        ("await nothing()", "NameError"),
        ("raise GeneratorExit", "GeneratorExit"),
    ],
)
async def test_every_kind_of_error_fails_alone(desk: Desk, code: str, name: str) -> None:
    """Whatever is raised ends this execution as FAILED, by name, and no later one."""
    run = await desk.run(code)

    assert run.status is FAILED, run.events
    assert run.error.name == name
    assert "/opt/interpreter/program" not in run.error.traceback
    assert run.finished.exit_code != 0
    assert await desk.value("1 + 1") == "2"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit(0)", 0),
        ("import sys; sys.exit()", 0),
        ("exit()", 0),
        ("quit(5)", 5),
        ("raise SystemExit(259)", 3),
        ("import sys; sys.exit('words')", 1),
        ("exit", None),
    ],
)
async def test_an_exit_ends_the_cell_alone(desk: Desk, code: str, exit_code: int | None) -> None:
    """`sys.exit(n)` gives its code, succeeds where that is 0, and the interpreter stays."""
    (await desk.run("survivor = 'here'")).succeeded()
    run = await desk.run(f"print('before')\n{code}")

    assert run.finished.exit_code == (exit_code or 0)
    assert run.status is (FAILED if exit_code else SUCCEEDED)
    assert run.stdout.startswith("before\n")
    assert not run.finished.interpreter_restarted
    assert await desk.value("survivor") == "'here'"


async def test_clearing_is_an_event(desk: Desk) -> None:
    """`clear_output` reaches readers in its place between outputs."""
    run = await desk.run(
        "from IPython.display import clear_output\nprint(1)\nclear_output(wait=True)\nprint(2)"
    )

    middle = [event for event in run.events if isinstance(event, Output | Cleared)]
    assert [type(event) for event in middle] == [Output, Cleared, Output]
    assert isinstance(middle[1], Cleared)
    assert middle[1].wait
