"""Code that breaks what it can reach: it ends in plain words, and the next code runs."""

import pytest

from services.executor.messages import ExecutionStatus, InputRequested
from tests.support.sessions import Desk, Lab, Run
from tests.support.stack import docker

LOST, FAILED = ExecutionStatus.LOST, ExecutionStatus.FAILED
# Bombs and floods: what runs beside them waits for longer than it bears.
pytestmark = pytest.mark.alone

RESTING = 3
"""Processes of a sandbox where nothing runs: init, supervisor, interpreter; `sleep` is one more."""


@pytest.fixture(scope="module")
async def resting(desk: Desk) -> int:
    """How many processes there are while no code runs."""
    (await desk.run("pass")).succeeded()
    return await desk.processes()


async def works_again(desk: Desk, resting: int) -> None:
    """Check that the next execution runs, and that nothing of an earlier one does."""
    assert await desk.value("6 * 7") == "42"
    assert await desk.processes() <= resting


def in_plain_words(run: Run) -> str:
    """Check that a run which did not succeed says why in a sentence, and return it."""
    assert run.status in (LOST, FAILED, ExecutionStatus.TIMED_OUT), run.events
    text = run.error.value or run.error.name
    assert text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("code", "status", "exit_code", "words"),
    [
        ("import os; os._exit(7)", FAILED, 7, "exit code 7"),
        ("import os; os._exit(0)", ExecutionStatus.SUCCEEDED, 0, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", LOST, 137, "SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", LOST, 139, "SIGSEGV"),
        ("import ctypes; ctypes.string_at(0)", LOST, 139, "SIGSEGV"),
        ("import os; os.abort()", LOST, 134, "SIGABRT"),
        ("import os; os.execv('/bin/true', ['true'])", None, None, ""),
        pytest.param(
            "import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
            None,
            None,
            "",
            marks=pytest.mark.long,
        ),
    ],
)
async def test_an_interpreter_that_ends_itself(
    desk: Desk,
    resting: int,
    code: str,
    status: ExecutionStatus | None,
    exit_code: int | None,
    words: str,
) -> None:
    """However the interpreter dies, output until then is kept and the reason is told."""
    run = await desk.run(f"state = 1\nprint('before', flush=True)\n{code}")

    assert run.stdout.startswith("before\n")
    if status is not None:
        assert (run.status, run.finished.exit_code) == (status, exit_code), run.events
        assert run.finished.interpreter_restarted
        if words:
            assert words in in_plain_words(run)
        assert (await desk.run("state")).error.name == "NameError"
    await works_again(desk, resting)


IGNORE_SIGNALS = """
import os, signal
for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
"""


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.closerange(0, 4096)",
        "import os; os.closerange(3, 4096)",
        "import os; os.close(1); os.close(2)",
        "import sys; sys.stdout.close(); sys.stderr.close(); sys.__stdout__.close()",
        "import sys; del sys.stdout, sys.stderr, sys.stdin",
        "import sys; sys.stdout = sys.stderr = None",
        "import os\nfor fd in range(4096):\n    try: os.dup2(0, fd)\n    except OSError: pass",
        IGNORE_SIGNALS,
        "import builtins; builtins.__dict__.clear()",
        "import sys; sys.modules.clear()",
        "import gc\nfor x in gc.get_objects():\n    if isinstance(x, dict): x.clear()",
        "import os; os.chdir('/')",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (10**7, 10**7))",
        "get_ipython().run_cell = None",
        "get_ipython().__class__.run_cell = None",
        "import asyncio; asyncio.get_event_loop().stop(); asyncio.get_event_loop().close()",
    ],
)
async def test_an_interpreter_broken_by_its_code(desk: Desk, resting: int, code: str) -> None:
    """Whatever code does to its own process ends at the latest with a restart."""
    run = await desk.run(code, timeout_seconds=2)
    assert run.events
    followed = await desk.run("6 * 7", timeout_seconds=2)
    assert followed.events
    await desk.executor.restart(desk.id)

    await works_again(desk, resting)


FORGE = """
import os, struct, json, stat
def frame(kind, payload, length=None):
    body = json.dumps(payload).encode()
    return struct.pack('>IB', len(body) if length is None else length, kind) + body
{frames}
for name in sorted(os.listdir('/proc/self/fd'), key=int):
    fd = int(name)
    if fd > 2:
        try:
            os.set_blocking(fd, False)
            os.write(fd, forged)
        except OSError: pass
# gVisor lets a user open what another process of his has open.
supervisor = f'/proc/{{os.getppid()}}/fd'
for name in os.listdir(supervisor):
    try:
        os.write(os.open(f'{{supervisor}}/{{name}}', os.O_WRONLY | os.O_NONBLOCK), forged)
    except OSError: pass
"""


@pytest.mark.parametrize(
    "frames",
    [
        "forged = frame(0x49, {'exit_code': 0}) + frame(0x42, {}) + frame(0x41, {'python': 1})",
        "forged = b''.join(frame(0x48, {'run': n, 'exit_code': 0}) for n in range(2000))",
        "forged = frame(0x47, {}, length=2**32 - 1)",
        "forged = b'\\xff' * 100_000",
        "forged = frame(0x44, [1, 2]) + frame(0x48, 'text')",
        "forged = struct.pack('>IB', 4, 0x43) + b'\\x01abc'",
        "forged = b''.join(frame(kind, {}) for kind in range(256))",
        "forged = frame(0x4A, {'requirements': ['x'] * 60}) * 500",
        "forged = frame(0x46, {'prompt': 5}) * 2000",
        "forged = struct.pack('>IB', 200_000, 0x44) + b'[' * 200_000",
        "forged = frame(0x4C, {'packages': 1, 'machine': [], 'libc': 5}) * 9",
    ],
)
async def test_forged_frames_harm_their_own_execution_alone(
    desk: Desk, resting: int, frames: str
) -> None:
    """Frames and garbage written to every descriptor that code finds reach nobody else."""
    before = (await desk.executor.stats(desk.id)).execution_count
    run = await desk.run(FORGE.format(frames=frames), timeout_seconds=2)
    assert run.events
    await desk.executor.restart(desk.id)

    await works_again(desk, resting)
    collected = await desk.executor.collect(desk.id, [], 0, wait_seconds=0)
    assert collected.stopped_reason is None
    assert not collected.failed
    assert (await desk.executor.stats(desk.id)).execution_count == before + 2


async def test_the_end_is_not_told_for_a_later_execution(desk: Desk) -> None:
    """A forged end of a run that is yet to come does not end it."""
    await desk.run(FORGE.format(frames="forged = frame(0x48, {'run': 10**6, 'exit_code': 9})"))
    run = await desk.run("print('all of it')")

    assert run.succeeded().stdout == "all of it\n"
    await desk.executor.restart(desk.id)


async def test_children_that_return_into_the_callers_frame(desk: Desk, resting: int) -> None:
    """Forked copies send no frame, read none, run no later cell, and end with the execution."""
    code = """
import os
for _ in range(4):
    os.fork()
if os.getppid() != parent: open(f'child-{os.getpid()}', 'w').close()
'value'
"""
    (await desk.run("import os; parent = os.getppid(); me = os.getpid()")).succeeded()
    run = await desk.run(code)
    after = await desk.run("print(os.getpid() == me, len(os.listdir()) > 1)")

    assert run.succeeded().result == "'value'"
    assert after.succeeded().stdout == "True True\n"
    for number in range(5):
        assert await desk.value(f"{number}") == str(number)
    await works_again(desk, resting)


async def test_a_bomb_of_forks(desk: Desk, resting: int) -> None:
    """A fork bomb meets the limit or ends with its execution; one interpreter goes on."""
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    run = await desk.run(code, timeout_seconds=2)

    assert run.status in (LOST, FAILED, ExecutionStatus.TIMED_OUT)
    await works_again(desk, resting)


async def test_forks_over_the_limit_raise(desk: Desk, resting: int) -> None:
    """Forks without end get an exception, or end as a sandbox that ran out of memory."""
    code = """
import os, time
count = 0
try:
    while True:
        if os.fork() == 0: time.sleep(1000)
        count += 1
except BlockingIOError:
    print('limited', count < 200)
"""
    run = await desk.run(code)

    assert run.stdout == "limited True\n" or "memory" in in_plain_words(run)
    await works_again(desk, resting)


async def test_threads_over_the_limit_raise(desk: Desk, resting: int) -> None:
    """Threads without end get an exception, or end as a sandbox that died."""
    code = """
import threading
stop = threading.Event(); threads = []
try:
    for _ in range(100_000):
        thread = threading.Thread(target=stop.wait); thread.start(); threads.append(thread)
except (RuntimeError, MemoryError) as error:
    print('limited')
finally:
    stop.set()
"""
    run = await desk.run(code)

    assert run.status is LOST or run.stdout == "limited\n"
    await desk.executor.restart(desk.id)
    await works_again(desk, resting)


HOGS = {
    "list": "x = [0]\nwhile True: x += x",
    "small objects": "x = []\nwhile True: x.append(object())",
    "bytes": "x = []\nwhile True: x.append(bytearray(20_000_000))",
    "mapping": "import mmap\nx = []\nwhile True:\n    m = mmap.mmap(-1, 20_000_000); "
    "m.write(b'x' * 20_000_000); x.append(m)",
    "string": "x = 'x' * 10**12",
    "program": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', "
    "'x=[]\\nwhile True: x.append(bytearray(20_000_000))'], check=True)",
    "workers": "import multiprocessing as m\ndef eat(_):\n    x = []\n"
    "    while True: x.append(bytearray(10_000_000))\n"
    "with m.get_context('fork').Pool(4) as pool: pool.map(eat, range(4))",
    "tmp": "x = open('/tmp/big', 'wb')\nwhile True: x.write(b'x' * 1_000_000)",
    "shm": "x = open('/dev/shm/big', 'wb')\nwhile True: x.write(b'x' * 1_000_000)",
}


SLOW_HOGS = ("small objects", "workers")


@pytest.mark.parametrize(
    "hog",
    [pytest.param(hog, marks=[pytest.mark.long] if hog in SLOW_HOGS else []) for hog in HOGS],
)
async def test_code_that_eats_memory(desk: Desk, resting: int, hog: str) -> None:
    """Memory without end is an exception or the end of the execution, told in plain words."""
    run = await desk.run(HOGS[hog], timeout_seconds=20)
    words = in_plain_words(run)

    if run.status is LOST:
        assert "memory" in words, run.events
    await desk.run("x = None\n!rm -f /tmp/big /dev/shm/big")
    await works_again(desk, resting)


async def test_memory_can_be_used_to_near_the_limit(desk: Desk) -> None:
    """Most of the sandbox's memory is the code's to use, and is given back."""
    for _ in range(2):
        run = await desk.run("x = bytearray(300_000_000); print(len(x)); del x")
        assert run.succeeded().stdout == "300000000\n"


async def test_a_full_disk_is_an_exception(lab: Lab) -> None:
    """Bytes and files without end are an OSError; after deleting them all is well again."""
    limits = lab.spec().limits
    small = type(limits)(disk_bytes=32 * 1024 * 1024, disk_files=1000)
    desk = await lab.start(limits=small)
    code = """
import errno, os
try:
    with open('big', 'wb') as file:
        while True: file.write(b'x' * 1_000_000)
except OSError as error:
    print(errno.errorcode[error.errno])
os.remove('big')
try:
    os.mkdir('many')
    for number in range(5000): open(f'many/{number}', 'w').close()
except OSError as error:
    print(errno.errorcode[error.errno], number < 1000)
"""
    run = await desk.run(code)
    assert run.succeeded().stdout == "ENOSPC\nENOSPC True\n"
    stats = await desk.executor.stats(desk.id)
    assert stats.disk_used_bytes < small.disk_bytes

    again = await desk.run("!rm -r many\nopen('fine', 'w').write('x' * 1_000_000)")
    assert again.succeeded().result == "1000000"


async def test_a_flood_without_a_reader(desk: Desk) -> None:
    """Output without end and without a reader ends at its time, with head and tail kept."""
    code = (
        "import os\nos.write(1, b'first\\n')\nblock = b'x' * 65536\nwhile True: os.write(1, block)"
    )
    execution = await desk.submit(code, timeout_seconds=2)
    record = await desk.ended(execution)
    late = await desk.follow(execution)

    assert record.status is ExecutionStatus.TIMED_OUT, record.error
    assert record.stdout.startswith("first\n")
    assert record.output_truncated
    assert len(record.stdout) < 1_000_000
    assert late.dropped > 0
    assert await desk.value("6 * 7") == "42"


KILLERS = {
    "everything": "import os, signal; os.kill(-1, signal.SIGKILL)",
    "supervisor": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "supervisor stopped": "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)\n"
    "while True: pass",
    "first process": "import os, signal\ntry: os.kill(1, signal.SIGKILL)\n"
    "except PermissionError: os._exit(5)",
}


@pytest.mark.parametrize("killer", KILLERS)
async def test_killing_what_serves_the_code(desk: Desk, resting: int, killer: str) -> None:
    """Code may kill the supervisor too: it ends its own execution, and all is made anew."""
    run = await desk.run("print('before', flush=True)\n" + KILLERS[killer], timeout_seconds=2)

    assert run.status is not ExecutionStatus.SUCCEEDED
    assert run.error.value
    await works_again(desk, resting)


DAEMON = """
import os, time, signal
{prelude}
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for n in range(1, 30):
            try: signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError): pass
        os.write(write, b'x')
        while True: time.sleep(0.01); open('/workspace/beat', 'w').write(str(time.time()))
    os._exit(0)
os.read(read, 1)
"""


@pytest.mark.parametrize(
    "ending",
    [
        "while True: pass",
        "import time; time.sleep(100)",
        "os.kill(os.getppid(), signal.SIGKILL); time.sleep(100)",
        "os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
async def test_daemons_end_with_their_execution(desk: Desk, resting: int, ending: str) -> None:
    """A daemon of two forks and a session of its own does not outlive its execution's end."""
    run = await desk.run(DAEMON.format(prelude="") + ending, timeout_seconds=2)

    assert run.status is not ExecutionStatus.SUCCEEDED
    await works_again(desk, resting)
    (await desk.run("import os; os.path.exists('beat') and os.remove('beat')")).succeeded()
    assert await desk.value("import time; time.sleep(0.3); os.path.exists('beat')") == "False"


async def test_a_container_killed_from_outside(lab: Lab) -> None:
    """What runs is LOST with the reason; the next execution brings the sandbox back."""
    desk = await lab.start()
    execution = await desk.submit("print('up', flush=True)\nwhile True: pass")
    await desk.until_printed(execution, "up")
    docker("kill", desk.container)
    run = await desk.follow(execution)
    assert run.status is LOST
    assert "container" in run.error.value
    assert await desk.value("6 * 7") == "42"

    docker("rm", "--force", desk.container)
    assert await desk.value("6 * 7") == "42"


QUESTIONS = """
import itertools, time
channel = get_ipython().channel
for number in itertools.count(1):
    channel.send(0x46, {{"number": number, "prompt": {prompt!r}, "password": False}})
    channel.send(0x4D, {{"number": number - 1}})
    time.sleep({pause})
"""


async def test_questions_that_are_taken_back_win_no_time(desk: Desk, resting: int) -> None:
    """One is always open, none is answered: the execution ends all the same."""
    run = await desk.run(QUESTIONS.format(prompt="?", pause=0.5), timeout_seconds=2)

    assert run.status is ExecutionStatus.TIMED_OUT
    await works_again(desk, resting)


async def test_questions_without_end_take_no_memory(desk: Desk, resting: int) -> None:
    """Of an execution's questions only so many are told, and only so much of their text."""
    run = await desk.run(QUESTIONS.format(prompt="?" * 4000, pause=0), timeout_seconds=2)

    prompts = [event.prompt for event in run.events if isinstance(event, InputRequested)]
    assert 0 < sum(map(len, prompts)) <= 64 * 1024
    await works_again(desk, resting)


async def test_a_question_too_many_is_an_exception(desk: Desk) -> None:
    """The code that asks is told, instead of waiting for nobody."""
    code = """
import threading
told = []
def ask():
    try: input()
    except EOFError as error: told.append(str(error))
threads = [threading.Thread(target=ask, daemon=True) for _ in range(66)]
for thread in threads: thread.start()
while len(told) < 2: pass
print(told[0])
"""
    run = await desk.run(code, timeout_seconds=20)

    assert run.succeeded().stdout == "64 questions are open already\n"
    await desk.executor.restart(desk.id)
