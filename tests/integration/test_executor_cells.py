"""Cells that are taken for plain Python are what IPython itself would make of them."""

import json
import subprocess
import sys

import pytest

from ops.layout import REPOSITORY
from tests.support.sessions import Desk, Lab
from tests.support.stack import Stack

MIB = 1024 * 1024
PRINTED = 560
CELLS = 20_000
COMPARE = """
import json, random, sys
from interpreter import shell as shells
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.macro import Macro

PIECES = [
    "x", "x = 1", "print('hi')", "pwd", "time", "time.sleep(1)", "cd", "ls", "@dec", "def f():",
    "    return 1", " ", "\\t", "\\n", "\\n\\n", "; ", "x;", "/x", "!ls", "%pwd", "x?", "?x",
    "a = !ls", "(", ")", "[1,", "2]", "'''", '\"\"\"', "# c", "...", ">>> x", "In [1]: x",
    "Out[1]: 3", "await f()", "\\\\\\n", "\\\\", "lambda: 0", ", 1", "; 1", "/ 2", "\\x0c", "\\r",
    "\\u2028", "\\u00e9", "if x:", "history", "alias foo ls", "macro", "again", "%", "in", "None",
    "for i in x:\\n    print(i)", "print", "x.y", "'a!b'", "f(x)", "-1", "*a, b = x", "$x", "~x",
    "0", ".5", ":", "\\ufeff", "exit", "quit", "who", "matplotlib", "# PYTHON-MODE",
]
number = int(sys.argv[1])
shell = shells.create()
shell.user_ns.update(x=1, time=3, again=Macro("x"))
rng = random.Random(20261124)
plain, wrong = 0, []
for _ in range(number):
    ends = ("", "", "\\n", " ")
    cell = "".join(rng.choice(PIECES) + rng.choice(ends) for _ in range(rng.randint(1, 5)))
    if not shell.plain_cells.is_plain(cell):
        continue
    plain += 1
    try:
        theirs = InteractiveShell.transform_cell(shell, cell)
    except SyntaxError:
        continue  # as the compiler says next, of the cell's own lines
    if shell.transform_cell(cell) != theirs:
        wrong.append([cell, theirs])
taught = []
for teach in (
    lambda: shell.input_transformers_post.append(lambda lines: lines),
    lambda: setattr(shell, "autocall", 1),
):
    before = shell.plain_cells.is_plain("x = 1")
    teach()
    taught.append([before, shell.plain_cells.is_plain("x = 1")])
    shell.input_transformers_post.clear()
    shell.autocall = 0
print(json.dumps({"plain": plain, "wrong": wrong, "taught": taught}))
"""


def test_a_plain_cell_is_what_ipython_would_make_of_it(stack: Stack) -> None:
    """Random cells of all that IPython changes, and of much that it does not."""
    library = stack.state("node")["interpreter_lib"]
    path = f"{REPOSITORY / 'services' / 'executor'}:{library}"
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, str(CELLS)],
        env={"PYTHONPATH": path, "HOME": "/nonexistent", "IPYTHONDIR": "/nonexistent"},
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])

    assert found["wrong"] == []
    assert found["plain"] > CELLS / 10
    assert found["taught"] == [[True, False], [True, False]]


@pytest.mark.long
async def test_nothing_shown_is_kept_in_the_sandbox(lab: Lab) -> None:
    """More than the memory is printed, bit by bit; figures and tracebacks leave no copy."""
    desk = await lab.start()
    flood = await desk.run(
        f"for _ in range({PRINTED}):\n    print('x' * {MIB})", timeout_seconds=120
    )
    await desk.run("import numpy\nnumpy.zeros(3)")
    await desk.run("1 / 0")
    await desk.run("display('shown')")

    assert len(flood.succeeded().stdout) + flood.dropped == PRINTED * (MIB + 1)
    assert await desk.value("dict(get_ipython().history_manager.outputs)") == "{}"
    assert await kept_tracebacks(desk) == "0"


async def kept_tracebacks(desk: Desk) -> object:
    """Count what the shell keeps of exceptions."""
    return await desk.value("sum(map(len, get_ipython().history_manager.exceptions.values()))")
