"""Code in the interpreter that stays, in a real sandbox."""

import pytest

from services.executor.messages import Display, ExecutionStatus, InputRequested, Output
from tests.support.faults import eventually
from tests.support.sessions import Desk, until

FAILED, SUCCEEDED = ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED


async def test_state_of_every_kind_persists(desk: Desk) -> None:
    """Variables, functions, classes, imports, open files, threads and tasks stay between runs."""
    setup = """
import asyncio, math as m, threading, contextvars
number = 41
def double(value): return 2 * value
class Point:
    count = 0
    def __init__(self, x): self.x = x; Point.count += 1
handle = open("kept.txt", "w+"); handle.write("line one\\n")
generator = (n * n for n in range(10)); next(generator)
woken = threading.Event(); seen = []
thread = threading.Thread(target=lambda: seen.append(woken.wait()), daemon=True); thread.start()
async def later():
    await asyncio.sleep(0); return "came"
task = asyncio.ensure_future(later())
"""
    (await desk.run(setup)).succeeded()
    use = """
handle.write("line two\\n"); handle.seek(0)
woken.set(); thread.join()
print(number + 1, double(m.floor(2.5)), Point(3).x, Point.count, next(generator))
print(handle.read(), end=""); print(seen, await task)
"""
    run = await desk.run(use)

    assert run.succeeded().stdout == "42 4 3 1 1\nline one\nline two\n[True] came\n"


BEGUN = {
    "task": """
async def later(): await asyncio.sleep(0.05); came()
task = asyncio.create_task(later()); await asyncio.sleep(0)
""",
    "task of code without await": """
async def later(): came()
task = asyncio.get_event_loop().create_task(later())
""",
    "timer": "timer = asyncio.get_event_loop().call_later(0.05, came)",
    "coroutine of a thread's": """
async def later(): came()
loop = asyncio.get_event_loop()
threading.Timer(0.2, lambda: asyncio.run_coroutine_threadsafe(later(), loop)).start()
""",
    "callback of a thread's": """
loop = asyncio.get_event_loop()
threading.Timer(0.2, lambda: loop.call_soon_threadsafe(came)).start()
""",
    "reader": """
read, write = os.pipe()
asyncio.get_event_loop().add_reader(read, lambda: (os.read(read, 1), came()))
threading.Timer(0.2, lambda: os.write(write, b"x")).start()
""",
    "thread after the loop was closed": """
asyncio.get_event_loop().close()
threading.Timer(0.2, came).start()
""",
}


@pytest.mark.parametrize("code", BEGUN.values(), ids=BEGUN)
async def test_what_a_cell_began_goes_on_after_it(desk: Desk, code: str) -> None:
    """Tasks, timers and readers go on while no cell runs, be they the loop's first or not."""
    setup = "import asyncio, os, threading\ndef came(): print('came', flush=True)\n"
    await desk.executor.restart(desk.id)
    for _ in range(2):
        execution = await desk.submit(setup + code)

        async def printed(execution: str = execution) -> bool:
            return "came" in (await desk.executor.record(desk.id, execution)).stdout

        await until(printed, seconds=10)
        record = await desk.ended(execution)

        assert (record.status, record.stdout) == (SUCCEEDED, "came\n")
        assert await desk.value("import asyncio; await asyncio.sleep(0, 'well')") == "'well'"


TICKING = """
import asyncio, os, sys, threading
loop = asyncio.get_event_loop(); kept = 'here'; ticks = []
def tick(): ticks.append(loop.call_later(0.01, tick))
tick()
"""
TICKS = """
n = len(ticks)
while len(ticks) == n: await asyncio.sleep(0)
kept
"""
ENDINGS = {
    "sys.exit in a task": (
        """
async def end(): await asyncio.sleep(0.05); sys.exit(3)
task = asyncio.ensure_future(end())
""",
        "SystemExit: 3",
    ),
    "sys.exit in a callback": ("loop.call_soon(sys.exit, 3)", "SystemExit: 3"),
    "KeyboardInterrupt": (
        """
def end(): raise KeyboardInterrupt
loop.call_soon(end)
""",
        "KeyboardInterrupt",
    ),
    "stop": ("loop.call_soon(loop.stop)", "Something stopped the event loop"),
    "stop by a thread": (
        "threading.Timer(0.1, lambda: loop.call_soon_threadsafe(loop.stop)).start()",
        "Something stopped the event loop",
    ),
    "stop before": ("loop.stop()", "Something stopped the event loop"),
    "close": ("loop.call_soon(loop.close)", "Cannot close a running event loop"),
    "cancel all": (
        """
def end():
    for task in asyncio.all_tasks(loop): task.cancel()
    print('cancelled', file=sys.stderr)
loop.call_soon(end)
""",
        "cancelled",
    ),
    "a copy that exits": (
        """
def end():
    pid = os.fork()
    if pid == 0: sys.exit(3)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    print('waited', file=sys.stderr)
loop.call_soon(end)
""",
        "waited",
    ),
}


@pytest.mark.parametrize(("code", "words"), ENDINGS.values(), ids=ENDINGS)
async def test_what_a_cell_left_on_the_loop_ends_nothing(
    desk: Desk, resting: int, code: str, words: str
) -> None:
    """What ends the loop between cells is told of; the state stays, and so does the loop."""
    execution = await desk.submit(TICKING + code)
    await eventually(lambda: desk.executor.record(desk.id, execution), lambda r: words in r.stderr)
    record = await desk.ended(execution)
    after = await desk.run(TICKS)
    (await desk.run("ticks[-1].cancel()")).succeeded()
    await eventually(desk.processes, lambda count: count <= resting)

    assert record.status is SUCCEEDED
    assert after.succeeded().result == "'here'"
    assert not after.finished.interpreter_restarted
    assert "/opt/interpreter" not in record.stderr


async def test_an_environment_is_one_executions(desk: Desk) -> None:
    """Variables of an execution are there for it and its programs, and put back after it."""
    environment = {"HOME": "/tmp", "EXTRA": "é '''", "EMPTY": ""}  # noqa: S108 # a value
    code = "import os; print(os.environ['HOME'], os.environ['EXTRA'], repr(os.environ['EMPTY']))\n"
    run = await desk.run(code + "!echo $EXTRA", environment=environment)
    after = await desk.run("import os; print(os.environ['HOME'], os.environ.get('EXTRA'))")

    assert run.succeeded().stdout == f"{environment['HOME']} é ''' ''\né '''\n"
    assert after.stdout == "/workspace None\n"


async def test_an_environment_is_put_back_after_an_error(desk: Desk) -> None:
    """An execution that raises leaves none of its variables, nor what it did to them."""
    await desk.run(
        "import os; os.environ['EXTRA'] = 'changed'; del os.environ['LANG']; 1 / 0",
        environment={"EXTRA": "set", "LANG": "xx"},
    )
    after = await desk.run("import os; print(os.environ.get('EXTRA'), os.environ['LANG'])")

    assert after.stdout == "None C.UTF-8\n"


async def test_a_question_is_answered(desk: Desk) -> None:
    """`input()` and `getpass()` ask, wait for the answer, and go on with it."""
    code = """
import getpass, sys
a = input('name? ')
b = getpass.getpass()
c = sys.stdin.readline()
print(a, b, [c])
"""
    execution = await desk.submit(code)
    after = 0
    for answer in ("ada é", "secret", "line"):
        asked = await desk.until(execution, lambda event: isinstance(event, InputRequested), after)
        assert isinstance(asked, InputRequested)
        assert asked.password == (answer == "secret")
        await desk.executor.provide_input(desk.id, execution, asked.seq, answer)
        after = asked.seq

    assert (await desk.follow(execution)).succeeded().stdout == "ada é secret ['line\\n']\n"


INTERRUPTED = """
import os, signal, sys, threading
main, me, supervisor = threading.main_thread().ident, os.getpid(), os.getppid()
def waits():
    frame, names = sys._current_frames()[main], []
    while frame is not None:
        names.append(frame.f_code.co_name); frame = frame.f_back
    return 'show' in names
def interrupt():
    while not waits(): pass
    os.kill(me, signal.SIGINT); done.wait(); os.kill(supervisor, signal.SIGCONT)
done = threading.Event()
thread = threading.Thread(target=interrupt); os.kill(supervisor, signal.SIGSTOP); thread.start()
try: display('interrupted')
except KeyboardInterrupt: print('interrupted')
finally: done.set(); thread.join()
"""


@pytest.mark.parametrize("cell", ["same", "next"])
async def test_order_outlives_an_interrupted_display(desk: Desk, cell: str) -> None:
    """What is shown after one whose wait was cut short stands before what is printed after it."""
    shows = "for n in range(200): display(n); print(n, flush=True)"
    code = INTERRUPTED + shows * (cell == "same")
    run = (await desk.run(code)).succeeded()
    if cell == "next":
        run = (await desk.run(shows)).succeeded()
    told = [
        str(event.data.bundle["text/plain"]) if isinstance(event, Display) else event.text
        for event in run.events
        if isinstance(event, Display | Output)
    ]

    wanted = "".join(f"{n}{n}\n" for n in range(200))
    assert "".join(told).endswith(wanted)


async def test_packages_install_from_code(desk: Desk) -> None:
    """`%pip install`, `-q` and `-U` too, installs without network; the package imports at once."""
    loud = await desk.run("%pip install six==1.16.0\nimport six; print(six.__version__)")
    again = await desk.run("%pip install -q -U six")
    version = await desk.run("import importlib.metadata as m; print(m.version('six'))")
    collected = await desk.executor.collect(desk.id, [], 0, wait_seconds=0)

    assert "six" in loud.succeeded().stdout
    assert loud.stdout.endswith("1.16.0\n")
    assert again.succeeded().stdout == again.stderr == ""
    assert version.stdout != "1.16.0\n"
    assert collected.packages is not None
    assert [one.name for one in collected.packages] == ["six"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("install", "name a package"),
        ("install --index-url https://example.com x", "--index-url is not taken"),
        ("install -r requirements.txt", "-r is not taken"),
        ("install git+https://example.com/x", "git+https"),
        ("install ./here", "./here"),
        ("uninstall six", "only %pip install"),
        ("install no-such-package-at-all-7261", "no-such-package-at-all-7261"),
        ("install 'unclosed", "quotation"),
    ],
)
async def test_a_wrong_pip_line_says_what_is_wrong(desk: Desk, line: str, words: str) -> None:
    """What `%pip` does not take, or can't find, fails with words about it."""
    run = await desk.run(f"%pip {line}")

    assert run.status is FAILED
    assert words.lower() in f"{run.error.value} {run.error.traceback}".lower()


@pytest.mark.parametrize("command", ["pip install six", "python3 -m pip install six"])
async def test_pip_in_a_shell_points_to_the_magic(desk: Desk, command: str) -> None:
    """`!pip install` says to use `%pip install`."""
    run = await desk.run(f"!{command}")

    assert "%pip install" in run.stderr
    assert run.stdout == ""


async def test_an_interpreter_that_ends_between_executions(desk: Desk) -> None:
    """The next execution runs in a new one, alone in its output, and tells that state is gone."""
    before = (await desk.executor.stats(desk.id)).processes
    await desk.run(
        "import os, subprocess; kept = 1\n"
        "subprocess.Popen(['sh', '-c', f'sleep 0.1; kill -9 {os.getpid()}'])"
    )
    await eventually(lambda: desk.executor.stats(desk.id), lambda seen: seen.processes == before)
    after = await desk.run("print('kept' in globals())")
    later = await desk.run("print('later')")

    assert (after.status, after.stdout) == (SUCCEEDED, "False\n")
    assert after.finished.interpreter_restarted
    assert (later.status, later.stdout) == (SUCCEEDED, "later\n")
    assert not later.finished.interpreter_restarted
