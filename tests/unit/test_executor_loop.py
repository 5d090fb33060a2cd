"""The cells' event loop, which is waited for without being run while nothing is on it."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from services.executor.interpreter.loop import CellLoop


async def nothing() -> None:
    """Do nothing."""


@pytest.fixture
def loop() -> Iterator[CellLoop]:
    """A loop that nothing was put on."""
    loop = CellLoop()
    yield loop
    loop.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Where the next cell would come from, and its other end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    "use",
    [
        lambda loop: loop.call_soon(int),
        lambda loop: loop.call_soon_threadsafe(int),
        lambda loop: loop.call_at(0, int),
        lambda loop: loop.call_later(0, int),
        lambda loop: loop.create_task(nothing()),
        lambda loop: asyncio.ensure_future(nothing(), loop=loop),
        lambda loop: asyncio.run_coroutine_threadsafe(nothing(), loop),
        lambda loop: loop.run_in_executor(None, int).add_done_callback(id),
    ],
    ids=[
        "call_soon", "call_soon_threadsafe", "call_at", "call_later", "create_task",
        "ensure_future", "run_coroutine_threadsafe", "run_in_executor",
    ],
)  # fmt: skip
def test_it_is_unused_until_something_is_put_on_it(
    loop: CellLoop, pipe: tuple[int, int], use: Callable[[CellLoop], object]
) -> None:
    """Whatever is put on the loop, it must be run from then on instead of being waited for."""
    before = loop.used
    use(loop)

    assert (before, loop.used) == (False, True)
    assert not loop.wait_unused(pipe[0])
    loop.run_until_complete(loop.shutdown_default_executor())


def test_the_next_cell_ends_the_wait(loop: CellLoop, pipe: tuple[int, int]) -> None:
    """What can be read ends the wait, any number of times, and leaves the loop unused."""
    os.write(pipe[1], b"x")

    assert loop.wait_unused(pipe[0])
    assert loop.wait_unused(pipe[0])
    assert not loop.used


def test_an_end_without_a_cell_ends_the_wait(loop: CellLoop) -> None:
    """Where the other end is closed, there is something to read: the end."""
    read, write = os.pipe()
    os.close(write)

    assert loop.wait_unused(read)
    os.close(read)


def test_another_thread_ends_the_wait(
    loop: CellLoop, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread puts on the loop after the wait has begun is not left lying there."""
    waiting = threading.Event()
    descriptor = loop._watched.fileno()

    def begin() -> None:
        waiting.wait()
        done.append(asyncio.run_coroutine_threadsafe(nothing(), loop))

    def fileno() -> int:
        # Asked for between the look whether anything is there and the wait itself.
        waiting.set()
        return descriptor

    done: list[Future[None]] = []
    monkeypatch.setattr(loop._watched, "fileno", fileno)
    thread = threading.Thread(target=begin)
    thread.start()

    assert not loop.wait_unused(pipe[0])
    thread.join()
    loop.run_until_complete(asyncio.wrap_future(done[0], loop=loop))


def test_a_watched_descriptor_ends_the_wait(loop: CellLoop, pipe: tuple[int, int]) -> None:
    """A reader that a cell added is called, though nothing else was ever put on the loop."""
    cell, other = os.pipe()
    seen: list[bytes] = []

    def read() -> None:
        seen.append(os.read(cell, 1))
        loop.stop()

    loop.add_reader(cell, read)
    os.write(other, b"x")
    assert not loop.wait_unused(pipe[0])
    loop.run_forever()
    loop.remove_reader(cell)
    os.close(cell)
    os.close(other)

    assert seen == [b"x"]
