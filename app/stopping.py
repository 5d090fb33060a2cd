"""Tells responses without end that the server is to end: uvicorn would wait for them."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def told_of_the_end(stopping: asyncio.Event) -> Iterator[None]:
    """Set the event at the signals that end a server, then do what was done before.

    Within the loop's thread; where that is not the main thread, signals are not ours to take.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def tell(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stopping.set)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in SIGNALS:
        if callable(before[number]):
            signal.signal(number, tell)
    try:
        yield
    finally:
        stopping.set()
        for number, handler in before.items():
            if signal.getsignal(number) is tell:
                signal.signal(number, handler)
