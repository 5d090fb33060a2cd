"""The time that an execution's limits count."""

import time


class Stopwatch:
    """Seconds that code ran: what it waited for readers or for an installation is left out."""

    def __init__(self) -> None:
        """Begin stopped at zero."""
        self._began: float | None = None
        self._paused_at: float | None = None
        self._paused = 0.0
        self._pauses = 0

    def start(self) -> None:
        """Begin to count."""
        self._began = time.monotonic()

    def pause(self) -> None:
        """Stop counting; pauses may overlap."""
        self._pauses += 1
        if self._pauses == 1:
            self._paused_at = time.monotonic()

    def resume(self) -> None:
        """Count again, once every pause is over."""
        self._pauses -= 1
        if not self._pauses and self._paused_at is not None:
            self._paused += time.monotonic() - self._paused_at
            self._paused_at = None

    @property
    def seconds(self) -> float:
        """Seconds counted until now."""
        if self._began is None:
            return 0.0
        end = self._paused_at if self._paused_at is not None else time.monotonic()
        return end - self._began - self._paused

    @property
    def elapsed(self) -> float:
        """Seconds since the start, pauses included."""
        return 0.0 if self._began is None else time.monotonic() - self._began
