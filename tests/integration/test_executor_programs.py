"""Programs and processes that code begins: which outlive their cell, and whose end is told."""

import pytest

from services.executor.messages import ExecutionStatus
from tests.support.faults import eventually
from tests.support.sessions import Desk

BEGUN = {
    "Popen": "program = subprocess.Popen(['sh', '-c', script])",
    "Popen with a hook": "program = subprocess.Popen(['sh', '-c', script], preexec_fn=os.setsid)",
    "the same Python": (
        "program = subprocess.Popen([sys.executable, '-c', python], preexec_fn=os.setsid)"
    ),
    "spawn": "pid = os.spawnlp(os.P_NOWAIT, 'sh', 'sh', '-c', script)",
    "spawn of the same Python": (
        "pid = os.spawnl(os.P_NOWAIT, sys.executable, sys.executable, '-c', python)"
    ),
    "pty": "pid, terminal = pty.fork()\nif pid == 0: os.execlp('sh', 'sh', '-c', script)",
    "fork and exec": "pid = os.fork()\nif pid == 0: os.execlp('sh', 'sh', '-c', script)",
    "slow exec": (
        "pid = os.fork()\nif pid == 0:\n    time.sleep(0.1); os.execlp('sh', 'sh', '-c', script)"
    ),
    "posix_spawn": "pid = os.posix_spawn('/bin/sh', ['sh', '-c', script], os.environ)",
}
SETUP = """
import os, pty, subprocess, sys, time
script = 'while [ ! -e go ]; do sleep 0.01; done; exit 7'
python = 'import os, sys, time\\nwhile not os.path.exists("go"): time.sleep(0.01)\\nsys.exit(7)'
if os.path.exists('go'): os.remove('go')
"""
WAIT = """
open('go', 'w').close()
try: code = program.wait()
except NameError: code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
globals().pop('program', None)
code
"""


@pytest.mark.parametrize("begin", BEGUN.values(), ids=BEGUN)
async def test_a_program_outlives_its_cell(desk: Desk, begin: str) -> None:
    """However it was begun, it runs on, and whoever waits for it learns how it ended."""
    (await desk.run(SETUP)).succeeded()
    (await desk.run(begin)).succeeded()
    (await desk.run("'another cell'")).succeeded()

    assert await desk.value(WAIT) == "7"


async def test_a_program_that_ended_is_its_owners_to_wait_for(desk: Desk) -> None:
    """The end of one that ended within its cell is told in the next."""
    code = """
import os, subprocess
one = subprocess.Popen(['sh', '-c', 'exit 3'], preexec_fn=os.setsid)
two = os.fork()
if two == 0: os._exit(4)
for pid in (one.pid, two): os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
"""
    (await desk.run(code)).succeeded()

    waited = "one.wait(), os.waitstatus_to_exitcode(os.waitpid(two, 0)[1])"
    assert await desk.value(waited) == "(3, 4)"


async def test_workers_outlive_their_cell(desk: Desk) -> None:
    """Those of `multiprocessing` go on, and tell how they ended."""
    code = """
import multiprocessing
context = multiprocessing.get_context('fork')
ours, theirs = context.Pipe()
def work(): theirs.send(2 * theirs.recv()); raise SystemExit(5)
worker = context.Process(target=work); worker.start()
"""
    (await desk.run(code)).succeeded()

    waited = "ours.send(21); got = ours.recv(); worker.join(); got, worker.exitcode"
    assert await desk.value(waited) == "(42, 5)"


LEFT = {
    "waits": "time.sleep(1000)",
    "works": "while True: pass",
    "hears nothing": (
        "import signal\n"
        "    for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
        "    while True: time.sleep(1)"
    ),
    "left the session": (
        "os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)\nos.waitpid(-1, 0)"
    ),
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
async def test_copies_of_the_interpreter_end_with_their_cell(
    desk: Desk, resting: int, left: str
) -> None:
    """What code forked and left in its own frame does not outlive the execution."""
    run = await desk.run(f"import os, time\nif os.fork() == 0:\n    {left}")
    after = await desk.run("import os; os.path.exists('x')")

    assert run.status is after.status is ExecutionStatus.SUCCEEDED
    await eventually(desk.processes, lambda count: count <= resting)
