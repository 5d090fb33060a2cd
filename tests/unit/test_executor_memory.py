"""The limit that follows what a process has mapped beside its data."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from services.executor.interpreter import memory
from services.executor.interpreter.memory import MEMORY_SECONDS, QUICK_SECONDS, MemoryLimit

MEMORY_BYTES = 1024 * 1024 * 1024
HARD_BYTES = 1400 * 1024 * 1024
"""What a sandbox's process may map at most; no look changes it."""


class Clock:
    """The time by which looks are spaced."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return it."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A time that stands still."""
    clock = Clock()
    monkeypatch.setattr(memory, "time", clock)
    return clock


@pytest.fixture
def pid() -> Iterator[int]:
    """A process with the hard limit that one in a sandbox has."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        lift(process.pid)
        yield process.pid
        process.kill()


def soft(pid: int) -> int:
    """Return the limit as it is."""
    return resource.prlimit(pid, resource.RLIMIT_AS)[0]


def lift(pid: int) -> None:
    """Let it map all that it may, so that the next look shows."""
    resource.prlimit(pid, resource.RLIMIT_AS, (HARD_BYTES, HARD_BYTES))


def run(pid: int, clock: Clock, seconds: float) -> MemoryLimit:
    """Begin code right after a look, and end it so much later."""
    limit = MemoryLimit(MEMORY_BYTES)
    limit.look(pid)
    lift(pid)
    limit.begin()
    clock.now += seconds
    limit.end(pid)
    return limit


def test_a_look_sets_the_limit(pid: int) -> None:
    """The limit has room for the sandbox's memory less what is reserved, up to the hard one."""
    MemoryLimit(MEMORY_BYTES).look(pid)
    limit, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    MemoryLimit(2 * HARD_BYTES).look(pid)

    assert MEMORY_BYTES - memory.RESERVED_BYTES < limit < hard == HARD_BYTES
    assert soft(pid) == HARD_BYTES


def test_without_memory_there_is_no_limit(pid: int) -> None:
    """Where no memory is named, nothing is held."""
    limit = MemoryLimit()
    limit.look(pid)
    limit.follow(pid)

    assert soft(pid) == HARD_BYTES


def test_code_begins_undisturbed(pid: int, clock: Clock) -> None:
    """What short code maps is not looked at: the first look comes some time after its begin."""
    limit = MemoryLimit(MEMORY_BYTES)
    limit.begin()
    limit.follow(pid)
    clock.now += MEMORY_SECONDS * 0.9
    limit.follow(pid)
    assert soft(pid) == HARD_BYTES
    clock.now += MEMORY_SECONDS * 0.2
    limit.follow(pid)

    assert soft(pid) != HARD_BYTES


def test_looks_have_a_pause_between_them(pid: int, clock: Clock) -> None:
    """Following looks at most once in a while, counted from the last look of any kind."""
    limit = MemoryLimit(MEMORY_BYTES)
    limit.look(pid)
    lift(pid)
    limit.follow(pid)
    assert soft(pid) == HARD_BYTES
    clock.now += MEMORY_SECONDS * 1.1
    limit.follow(pid)

    assert soft(pid) != HARD_BYTES


def test_the_end_of_code_is_looked_at(pid: int, clock: Clock) -> None:
    """The next code begins with a limit that knows what this one has mapped."""
    limit = run(pid, clock, QUICK_SECONDS * 1.1)

    assert soft(pid) != HARD_BYTES
    assert not limit.due


def test_the_end_of_quick_code_is_looked_at_later(pid: int, clock: Clock) -> None:
    """Right after a look, code too quick to map much waits for the next one."""
    limit = run(pid, clock, QUICK_SECONDS * 0.9)
    assert limit.due
    assert soft(pid) == HARD_BYTES
    clock.now += MEMORY_SECONDS
    limit.follow(pid)

    assert soft(pid) != HARD_BYTES
    assert not limit.due


def test_quick_code_without_a_pause_is_looked_at_too(pid: int, clock: Clock) -> None:
    """One after the other, each before the look that the last one has left."""
    limit = MemoryLimit(MEMORY_BYTES)
    limit.look(pid)
    lift(pid)
    looked_at = clock.now
    while soft(pid) == HARD_BYTES and clock.now < looked_at + 1:
        limit.begin()
        clock.now += QUICK_SECONDS / 2
        limit.follow(pid)
        limit.end(pid)

    assert clock.now - looked_at < MEMORY_SECONDS + QUICK_SECONDS


def test_without_a_limit_no_look_stays_due(pid: int, clock: Clock) -> None:
    """A supervisor wakes up for one that is due."""
    limit = MemoryLimit()
    limit.look(pid)
    limit.begin()
    limit.end(pid)
    clock.now += MEMORY_SECONDS * 1.1
    limit.follow(pid)

    assert not limit.due


def test_a_process_that_is_gone() -> None:
    """Looking at a process that has ended is no error."""
    process = subprocess.Popen(["true"])
    process.wait()
    limit = MemoryLimit(MEMORY_BYTES)

    limit.look(process.pid)
