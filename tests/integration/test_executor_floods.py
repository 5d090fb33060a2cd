"""Code that takes without end: processes, memory, disk, output, questions; the next code runs."""

import pytest

from services.executor.messages import ExecutionStatus, InputRequested
from tests.support.faults import eventually
from tests.support.sessions import Desk, Lab, in_plain_words, works_again

LOST, FAILED = ExecutionStatus.LOST, ExecutionStatus.FAILED
# `alone`: what runs beside a bomb waits for longer than it bears.


@pytest.mark.alone
async def test_a_bomb_of_forks(desk: Desk, resting: int) -> None:
    """A fork bomb meets the limit or ends with its execution; one interpreter goes on."""
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    run = await desk.run(code, timeout_seconds=2)

    assert run.status in (LOST, FAILED, ExecutionStatus.TIMED_OUT)
    await works_again(desk, resting)


@pytest.mark.alone
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


@pytest.mark.alone
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


MAPPED = """
import mmap, os, resource, threading, time
def limit(): return resource.getrlimit(resource.RLIMIT_AS)[0]
def wait(before):
    while limit() <= before: time.sleep(0.01)
    os.close(os.open("rose", os.O_CREAT))
with open("large", "wb") as file: file.truncate(64 << 20)
large = os.open("large", os.O_RDONLY)
"""
QUICK = """
threading.Thread(target=wait, args=(limit(),), daemon=True).start()
kept = mmap.mmap(large, 64 << 20, prot=mmap.PROT_READ)
"""


async def test_what_quick_code_maps_is_seen_without_another_cell(lab: Lab) -> None:
    """Its end is too soon for a look at its memory; one comes while nothing runs."""
    desk = await lab.start()
    (await desk.run(MAPPED)).succeeded()
    (await desk.run("pass")).succeeded()
    (await desk.run(QUICK)).succeeded()

    assert await eventually(
        lambda: desk.executor.file_info(desk.id, "rose"), lambda seen: seen is not None
    )
