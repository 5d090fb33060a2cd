"""Values and errors as readers get them: whole or replaced by a note, plain, of the code alone."""

import pytest

from services.executor.messages import CodeError, Display, ExecutionStatus
from tests.support.sessions import Desk, Lab, Run

MIB = 1024 * 1024


@pytest.fixture(scope="module")
async def desk(lab: Lab) -> Desk:
    """One session for all."""
    return await lab.start()


def shown(run: Run) -> list[tuple[bool, dict[str, object]]]:
    """Whether each display was the result, and its bundle."""
    return [
        (event.data.is_result, dict(event.data.bundle))
        for event in run.events
        if isinstance(event, Display)
    ]


@pytest.mark.parametrize(
    ("code", "is_result", "text", "kept"),
    [
        ("'x' * 50_000_000", True, "[not shown: text/plain of 50,000,002 bytes", set()),
        ("HTML('<b>' * 4_000_000)", True, "HTML object>\n[not shown: text/html of 12", set()),
        (
            "display({'image/png': 'A' * 30_000_000, 'text/plain': 'small'}, raw=True)",
            False,
            "small\n[not shown: image/png of 30,000,000 bytes",
            set(),
        ),
        (
            "display({'application/json': list(range(3_000_000)), 'a/b': 'c'}, raw=True)",
            False,
            "[not shown: application/json of 2",
            {"a/b"},
        ),
        (
            "display({'application/json': [[]] * 1_000_000}, raw=True)",
            False,
            "[not shown: a result of over 400,000 values]",
            set(),
        ),
        (
            "display({'application/json': object(), 'text/plain': 't'}, raw=True)",
            False,
            "t\n[not shown: application/json, for it is no JSON]",
            set(),
        ),
    ],
)
async def test_a_result_over_the_limit_is_replaced_by_a_note(
    desk: Desk,
    code: str,
    is_result: bool,  # noqa: FBT001 - pytest names it
    text: str,
    kept: set[str],
) -> None:
    """What is small of it stays, nothing is cut in the middle, and the interpreter lives."""
    await desk.run("from IPython.display import HTML\nmark = 1")

    [(result, bundle)] = shown((await desk.run(code)).succeeded())

    assert result is is_result
    assert text in str(bundle.pop("text/plain"))
    assert set(bundle) == kept
    assert await desk.value("mark") == "1"


async def test_a_result_just_under_the_limit_is_whole(desk: Desk) -> None:
    """Ten mebibytes, less a little for what is around them."""
    [(_, bundle)] = shown(
        (
            await desk.run(f"display({{'image/png': 'A' * {10 * MIB - 70_000}}}, raw=True)")
        ).succeeded()
    )

    assert bundle == {"image/png": "A" * (10 * MIB - 70_000)}


async def test_a_group_of_exceptions_is_told_whole(desk: Desk) -> None:
    """Each of its members with its own lines, by the error alone, without the shell's frames."""
    code = """
def thrower():
    raise ValueError("first")

try:
    thrower()
except ValueError as error:
    raise ExceptionGroup("both", [error, TypeError("second")])
"""
    run = await desk.run(code)

    assert run.error.name == "ExceptionGroup"
    assert run.stderr == ""
    for words in ("line 3, in thrower", "ValueError: first", "TypeError: second", "line 8, in"):
        assert words in run.error.traceback, words
    assert "IPython" not in run.error.traceback


async def test_an_exception_of_a_group_is_told_with_it(desk: Desk) -> None:
    """What was raised while a group was handled names the group as its context."""
    run = await desk.run(
        "try:\n    raise ExceptionGroup('g', [ValueError(1)])\nexcept* ValueError:\n    1 / 0"
    )

    assert run.error.name == "ZeroDivisionError"
    assert "ExceptionGroup: g (1 sub-exception)" in run.error.traceback
    assert run.error.traceback.endswith("ZeroDivisionError: division by zero")


async def test_no_escape_of_a_terminals_is_in_an_error(desk: Desk) -> None:
    """Colours, titles and lone escapes go; what they surround stays."""
    run = await desk.run(r"raise ValueError('\x1b[31mred\x1b[0m \x1b]0;title\x07end\x1b')")

    assert run.error.value == "red end"
    assert "\x1b" not in run.error.traceback
    assert "ValueError: red end" in run.error.traceback


async def test_a_magic_used_wrongly_is_told_once(desk: Desk) -> None:
    """As the error, and not on standard error too."""
    run = await desk.run("%pip install")

    assert run.error == CodeError(
        "UsageError",
        "name a package: %pip install NAME",
        "UsageError: name a package: %pip install NAME",
    )
    assert run.stderr == ""


async def test_cells_have_names_to_read(desk: Desk) -> None:
    """Warnings, Python's own tracebacks and syntax errors name the cell by its number."""
    count = int(str(await desk.value("get_ipython().execution_count"))) + 1
    warned = await desk.run("import warnings\nwarnings.warn('careful')")
    printed = await desk.run(
        "import traceback\ntry: 1 / 0\nexcept Exception: traceback.print_exc()"
    )
    wrong = await desk.run("x = = 1")
    source = await desk.run("import inspect\ndef f(): return 1\nprint(inspect.getsource(f))")

    assert warned.stderr.startswith(f"Cell In[{count - 1}]:2: UserWarning: careful\n")
    assert f'File "Cell In[{count}]", line 2, in <module>' in printed.stderr
    assert wrong.error.value == f"invalid syntax (Cell In[{count + 1}], line 1)"
    assert f"  Cell In[{count + 1}], line 1\n" in wrong.error.traceback
    assert source.succeeded().stdout == "def f(): return 1\n\n"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("\n\n  \n1 / 0", 4),
        ("\n    x = 1\n    1 / 0", 3),
        ("\n%time 1\n1 / 0", 3),
        ("x = 1\n\n\n1 / 0", 4),
        ("\r\n1 / 0", 2),
    ],
)
async def test_lines_keep_their_numbers(desk: Desk, code: str, line: int) -> None:
    """Blank lines at the beginning count too."""
    run = await desk.run(code)

    assert f", line {line}\n" in run.error.traceback, run.error.traceback
    assert f"----> {line} " in run.error.traceback


async def test_magics_after_blank_lines_work(desk: Desk) -> None:
    """As in a notebook, whether they begin with a sign or not."""
    cell = await desk.run("\n\n%%bash\necho hi")
    line = await desk.run("\npwd")

    assert cell.succeeded().stdout == "hi\n"
    assert line.result == "'/workspace'"


async def test_a_cell_that_wants_the_loop_has_it(desk: Desk) -> None:
    """A task is begun without `await`; a cell that runs a loop of its own has none around it."""
    begun = await desk.run(
        "import asyncio\nasync def later():\n    return 'done'\ntask = asyncio.create_task(later())"
    )
    awaited = await desk.run("await task")
    own = await desk.run(
        "async def main():\n    return await asyncio.create_task(later())\nasyncio.run(main())"
    )

    assert begun.status is ExecutionStatus.SUCCEEDED, begun.events
    assert (awaited.result, own.result) == ("'done'", "'done'")


async def test_code_finds_itself_alone(desk: Desk) -> None:
    """No program's arguments, and no name that the code has not made."""
    fresh = await desk.run("%reset -f\n%who\nimport sys\nprint(sys.argv)")

    assert fresh.succeeded().stdout == "Interactive namespace is empty.\n['']\n"


@pytest.mark.parametrize(
    "code",
    [
        "x = []\nfor _ in range(1500): x = [x]\ndisplay({'application/json': x}, raw=True)",
        "import sys; sys.set_int_max_str_digits(0)\ndisplay({'a/b': 10 ** 5000}, raw=True)",
    ],
    ids=["deep", "long"],
)
async def test_what_cannot_be_read_is_a_note(desk: Desk, code: str) -> None:
    """Too deep, or a number too long: the sandbox lives, and the rest of the code runs."""
    run = await desk.run(f"{code}\n'went on'")

    [(_, bundle), (_, rest)] = shown(run.succeeded())
    assert str(bundle["text/plain"]).startswith("[not shown: ")
    assert rest == {"text/plain": "'went on'"}


async def test_what_is_64_levels_deep_is_whole(desk: Desk) -> None:
    """The innermost value included."""
    code = "x = 'in'\nfor _ in range(64): x = [x]\ndisplay({'a/b': x}, raw=True)"
    [(_, bundle)] = shown((await desk.run(code)).succeeded())

    value = bundle["a/b"]
    for _ in range(64):
        assert isinstance(value, list)
        [value] = value
    assert value == "in"
