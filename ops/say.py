"""What a person reads on the terminal: steps in words, and one line for what can't be done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class CannotError(Exception):
    """Something that this machine does not allow; `remedy` is the command that would help."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy

    def __str__(self) -> str:
        """Problem and remedy in one line."""
        return " ".join(f"{str(self.args[0]).rstrip('.')}. To fix it: {self.remedy}".split())


def say(text: str) -> None:
    """One line, at once, on standard error: standard output belongs to a verb's answer."""
    print(f"· {text}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One line about something that is missing and can be done without."""
    print(f"! {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce what takes long, and say how long it took."""
    say(f"{text} …")
    began = time.monotonic()
    yield
    say(f"{text}: done in {time.monotonic() - began:.1f} s")
