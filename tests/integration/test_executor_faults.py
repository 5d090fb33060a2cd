"""Code that breaks what it can reach: it ends in plain words, and the next code runs."""

import os
import signal

import pytest

from services.executor.messages import ExecutionStatus, Queued
from tests.support.faults import kill_actor_process
from tests.support.sessions import Desk, Lab, in_plain_words, works_again
from tests.support.stack import docker

LOST, FAILED = ExecutionStatus.LOST, ExecutionStatus.FAILED


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


@pytest.mark.alone
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


@pytest.mark.long
async def test_a_sandbox_that_hangs(lab: Lab) -> None:
    """Docker waits for it without end; here it is ended, and deleted, all the same."""
    desk = await lab.start()
    os.kill(int(desk.inspect("{{.State.Pid}}")), signal.SIGSTOP)
    run = await desk.run("while True: pass", timeout_seconds=1)

    assert run.status is ExecutionStatus.TIMED_OUT
    assert await desk.value("6 * 7") == "42"
    os.kill(int(desk.inspect("{{.State.Pid}}")), signal.SIGSTOP)
    await desk.executor.destroy(desk.id, None)
    assert not docker("ps", "--all", "--quiet", "--filter", f"name={desk.container}")


@pytest.mark.long
async def test_the_container_of_a_lost_session_hangs(lab: Lab) -> None:
    """The node's agent removes it as any other."""
    desk = await lab.start()
    os.kill(int(desk.inspect("{{.State.Pid}}")), signal.SIGSTOP)
    kill_actor_process(lab.stack, desk.id)
    await desk.executor.destroy(desk.id, None)
    assert not docker("ps", "--all", "--quiet", "--filter", f"name={desk.container}")


async def test_memory_is_limited_from_the_first_moment(desk: Desk) -> None:
    """Code that comes as the interpreter is replaced meets a MemoryError too, and lives."""
    for _ in range(5):
        await desk.run("import os; os._exit(3)")
        run = await desk.run("kept = 1\nbytearray(900 * 1024 * 1024)")

        assert run.error is not None, run.events
        assert run.error.name == "MemoryError"
        assert await desk.value("kept") == "1"


async def test_an_execution_that_has_ended_is_before_nobody(desk: Desk) -> None:
    """While the next interpreter is made for it, the next execution is the first in the queue."""
    await desk.run("import os; os._exit(3)")
    run = await desk.run("1")

    assert isinstance(run.events[0], Queued)
    assert run.events[0].position == 0
