"""The copies that code forks: known even where they run only after whoever made them ended."""

import subprocess
import sys

# Whoever sleeps as soon as it is forked tells of itself late, as it would on a busy machine.
LATE = """
import os, select, sys, time
from services.executor.interpreter.clones import Clones

seconds = float(sys.argv[1])
os.register_at_fork(after_in_child=lambda: time.sleep(seconds))
clones = Clones()
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(20)
    os._exit(0)
os.waitpid(-1, 0)
os.close(write)
clones.end()
# Nobody else holds the other end, once the copies are gone: what is killed closes it soon.
print("gone" if select.select([read], [], [], 10)[0] else "there")
"""


def told(program: str, *arguments: str) -> str:
    """Run a program by itself, and return what it prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_a_copy_that_runs_late_is_ended() -> None:
    """Its maker has ended before it could tell of itself."""
    assert told(LATE, "1.5") == "gone\n"


FAILED = """
import os, resource
from services.executor.interpreter.clones import Clones

clones = Clones()
os.setuid(65533)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
for _ in range(3):
    try:
        os.fork()
    except BlockingIOError:
        print("failed")
clones.end()
clones.end()
print("ended")
"""


WORKER = """
import multiprocessing, os, time
from services.executor.interpreter.clones import Clones

clones = Clones()
context = multiprocessing.get_context("fork")
ours, theirs = context.Pipe()
worker = context.Process(target=lambda: theirs.send(theirs.recv()))
worker.start()
for _ in range(3):
    if os.fork() == 0:
        time.sleep(20)
    clones.end()
ours.send("lives")
print(ours.recv())
worker.join()
"""


def test_workers_are_told_from_copies() -> None:
    """They are alike, and go on."""
    assert told(WORKER) == "lives\n"


def test_forks_that_fail_are_not_waited_for_without_end() -> None:
    """Nobody comes of them."""
    assert told(FAILED) == "failed\n" * 3 + "ended\n"
