"""The event loop of the cells, which is not run as long as nothing is on it."""

import asyncio
import select
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


class CellLoop(asyncio.SelectorEventLoop):
    """Knows whether anything was ever put on it.

    Waiting for the next cell by running the loop costs 0.2 ms a cell under gVisor, which most
    code, being free of asyncio, need not pay.
    """

    def __init__(self) -> None:
        """Begin unused."""
        self._watched = selectors.DefaultSelector()
        super().__init__(self._watched)
        self.used = False

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Take note, and do it."""
        self.used = True
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Take note, and do it: the wait of another thread ends by it."""
        self.used = True
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Take note, and do it; timers by `call_later` come here too."""
        self.used = True
        return super().call_at(when, callback, *args, context=context)

    def wait_unused(self, descriptor: int) -> bool:
        """Wait until a descriptor can be read or something is on the loop; False for the latter."""
        if self.used:
            return False
        poll = select.poll()
        for each in (descriptor, self._watched.fileno()):
            poll.register(each, select.POLLIN)
        ready = {number for number, _ in poll.poll()}
        return descriptor in ready
