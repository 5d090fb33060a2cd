"""Subjects of one speed in turn in one loop, so that a drift of the machine meets all alike.

Slow ones have a loop of their own: after a container's start, whoever comes next finds the
machine's caches cold.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from bench.figures import FIRST_OUTPUT, Figure, figure

CODE = 'print("hi")'
"""What each subject runs, where it runs code."""
SAID = "hi\n"
OURS = "executeCode"
WARM_UPS = 3

Once = Callable[[], Awaitable[tuple[float, float]]]
"""Runs once; returns the seconds to the first output and to the end."""


class SubjectError(Exception):
    """A subject can't be measured here, or not any more; the message is one line."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure."""

    name: str
    once: Once
    runs: int
    """Subjects of as many runs are measured in one loop."""


@dataclass(slots=True)
class _Times:
    first: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)


async def in_turn(subjects: Sequence[Subject]) -> tuple[list[Figure], dict[str, str]]:
    """Warm up and measure all; return the figures, and why a subject has none."""
    failed: dict[str, str] = {}
    times = {subject.name: _Times() for subject in subjects}
    for runs in sorted({subject.runs for subject in subjects}, reverse=True):
        group = [subject for subject in subjects if subject.runs == runs]
        for subject in group:
            await _run(subject, WARM_UPS, _Times(), failed)
        for _ in range(runs):
            for subject in group:
                await _run(subject, 1, times[subject.name], failed)
    measured = {name: taken for name, taken in times.items() if name not in failed}
    return [
        *(figure(name + FIRST_OUTPUT, taken.first) for name, taken in measured.items()),
        *(
            figure(f"{name}: end", taken.end)
            for name, taken in measured.items()
            if taken.end != taken.first
        ),
    ], failed


async def _run(subject: Subject, times: int, taken: _Times, failed: dict[str, str]) -> None:
    if subject.name in failed:
        return
    try:
        for _ in range(times):
            first, end = await subject.once()
            taken.first.append(first)
            taken.end.append(end)
    except SubjectError as error:
        failed[subject.name] = str(error)
