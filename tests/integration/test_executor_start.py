"""How an interpreter begins: whatever the user has put in its way."""

import pytest

from services.executor.messages import ExecutionStatus
from tests.support.sessions import Desk, Lab, Run

FAILED = ExecutionStatus.FAILED
FEW_PROCESSES = 8
"""More than the init, the supervisor and one interpreter on its way."""

PLANTED = {
    "json.py": "raise RuntimeError('json.py of the workspace')",
    "frames.py": "raise RuntimeError('frames.py of the workspace')",
    "traitlets.py": "__version__ = '0.1'",
    "sitecustomize.py": "raise SystemExit('sitecustomize.py of the workspace')",
    "usercustomize.py": "raise SystemExit('usercustomize.py of the workspace')",
    "IPython/__init__.py": "raise RuntimeError('IPython of the workspace')",
    "encodings/__init__.py": "raise RuntimeError('encodings of the workspace')",
    ".local/lib/python3.13/site-packages/evil.pth": "import sys; sys.exit('pth')",
    ".ipython/profile_default/startup/00.py": "raise SystemExit('startup')",
    ".ipython/profile_default/ipython_config.py": "raise SystemExit('config')",
    ".pythonrc": "raise SystemExit('rc')",
    "pyvenv.cfg": "home = /nowhere",
}


async def test_the_users_modules_brick_nothing(lab: Lab) -> None:
    """After a restart and a stop with modules of our names in the workspace, code still runs."""
    desk = await lab.start()
    for path, content in PLANTED.items():
        await desk.executor.write_file(desk.id, path, content.encode())
    await desk.executor.restart(desk.id)
    restarted = await desk.run("print('alive')\n1 + 1")
    failing = await desk.run("import frames")
    await desk.executor.stop(desk.id, None)
    await desk.executor.start(desk.spec)

    assert restarted.succeeded().result == "2"
    assert failing.error.value == "frames.py of the workspace"
    assert await desk.value("6 * 7") == "42"


WARM = "get_ipython().loop_runner.__self__.warm()"
"""What an interpreter does while it waits for its first cell."""
CELLS = (
    "print('printed')",
    "{'a': [1, 2.5, 'text']}",
    "display('shown')",
    "def f():\n    def g():\n        return 1 / 0\n    g()\nf()",
    "1 +",
    "raise ExceptionGroup('several', [ValueError(1)])",
    "type('Shy', (), {'__repr__': lambda self: 1 / 0})()",
    "import asyncio\nawait asyncio.sleep(0)",
    "warn = __import__('warnings').warn\nwarn('take care')",
    "!echo program",
    "%pip install",
    "exit()",
)
LOADED = """
import os, sys
names = {name.partition('.')[0] for name in sys.modules}
names |= {name.partition('.')[0] for name in os.listdir('/opt/interpreter/lib')}
print(*sorted(name for name in names | sys.stdlib_module_names if name.isidentifier()))
"""
PLANT = """
for name in {names!r}:
    with open(f'{{name}}.py', 'w') as file:
        file.write("open('/workspace/imported', 'a').write(__name__ + ' ')\\nraise SystemExit(1)")
"""


def told(run: Run) -> tuple[object, ...]:
    """Return what a reader learns of a run, without numbers that differ between two."""
    shown = [event.data.bundle for event in run.events if hasattr(event, "data")]
    errors = [event.error for event in run.events if hasattr(event, "error")]
    return run.status, run.stdout, run.stderr, shown, errors


async def test_nothing_of_the_interpreters_comes_from_the_workspace(lab: Lab) -> None:
    """With a file for every module that it has or may have, all is shown as without them."""
    desk = await lab.start()
    await desk.executor.restart(desk.id)
    before = [told(await desk.run(cell)) for cell in CELLS]
    (await desk.run(WARM)).succeeded()
    names = (await desk.run(LOADED)).succeeded().stdout.split()
    (await desk.run(PLANT.format(names=names))).succeeded()
    await desk.executor.restart(desk.id)
    after = [told(await desk.run(cell)) for cell in CELLS]
    (await desk.run(WARM)).succeeded()

    assert {"fractions", "executing", "html", "email", "IPython", "interpreter"} <= set(names)
    assert after == before
    assert await desk.value("import os; os.path.exists('/workspace/imported')") == "False"
    assert "ZeroDivisionError" in str(after)
    assert (await desk.run("import timeit")).status is FAILED


LOOKED_FOR = """
import sys
class Finder:
    names = []
    def find_spec(name, path=None, target=None): Finder.names.append(name)
sys.meta_path.insert(0, Finder)
"""


async def test_an_interpreter_looks_for_no_module(lab: Lab) -> None:
    """Not even for those that it could do without, which a user may have under that name."""
    desk = await lab.start()
    await desk.executor.restart(desk.id)
    (await desk.run(LOOKED_FOR)).succeeded()
    for cell in (*CELLS, WARM):
        await desk.run(cell)

    assert await desk.value("Finder.names") == "[]"


@pytest.mark.long
async def test_an_old_package_of_the_users_harms_nothing(lab: Lab) -> None:
    """One that the interpreter has too, in a version that it could not use, is installed."""
    desk = await lab.start()
    installed = await desk.run("%pip install -q asttokens==1.1.13")
    await desk.executor.restart(desk.id)
    failing = await desk.run("1 / 0")

    installed.succeeded()
    assert "1 / 0" in failing.error.traceback


async def test_the_users_packages_win(desk: Desk) -> None:
    """A module of the workspace is imported before one that the interpreter brings along."""
    await desk.executor.write_file(desk.id, "decorator.py", b"mine = True")
    run = await desk.run("import decorator; print(decorator.__file__, decorator.mine)")

    assert run.succeeded().stdout == "/workspace/decorator.py True\n"


async def test_code_starts_in_the_workspace(desk: Desk) -> None:
    """The working folder and HOME are the workspace, and `__file__`-less code is `__main__`."""
    run = await desk.run("import os; print(os.getcwd(), os.environ['HOME'], __name__)")

    assert run.succeeded().stdout == "/workspace /workspace __main__\n"


@pytest.mark.long
async def test_an_interpreter_starts_in_a_closed_workspace(lab: Lab) -> None:
    """Who has taken his own rights on the workspace away can give them back."""
    desk = await lab.start()
    (await desk.run("import os; os.chmod('/workspace', 0)")).succeeded()
    await desk.executor.restart(desk.id)

    assert await desk.value("import os; os.chmod('/workspace', 0o755); os.getcwd()")
    assert await desk.value("open('x', 'w').write('1')") == "1"


async def test_an_interpreter_that_cannot_start(lab: Lab) -> None:
    """It is not forked again and again; each execution tries once, and tells why it failed."""
    desk = await lab.start(environment={"SPOILED": "\0"})
    seen = [await desk.run("print('never')") for _ in range(3)]

    for run in seen:
        assert run.status is FAILED
        assert run.error.name == "InterpreterNotStarted"
        assert "exit code 1" in run.error.value
        assert "null byte" in run.stderr
        assert run.stdout == ""
    assert await desk.processes() < FEW_PROCESSES


@pytest.mark.long
async def test_limits_lowered_for_good_cost_one_execution(lab: Lab) -> None:
    """Code may lower what its supervisor may use; what can't start then has a new container."""
    desk = await lab.start()
    await desk.run(
        "import os, resource\n"
        "resource.prlimit(os.getppid(), resource.RLIMIT_NPROC, (100, 100))\nos._exit(3)"
    )
    failed = await desk.run("1")

    assert failed.error.name == "InterpreterNotStarted"
    assert await desk.value("6 * 7") == "42"
