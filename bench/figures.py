"""Durations, and what is said of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class Figure:
    """Percentiles of one measured thing, in milliseconds."""

    name: str
    runs: int
    p50: float
    p99: float
    least: float

    def to_json(self) -> dict[str, str | int | float]:
        """Return it as JSON writes it."""
        return asdict(self)


def figure(name: str, seconds: Sequence[float]) -> Figure:
    """Sum up measured durations, given in seconds."""
    ordered = sorted(duration * MILLISECONDS for duration in seconds)
    return Figure(
        name=name,
        runs=len(ordered),
        p50=round(ordered[len(ordered) // 2], 3),
        p99=round(ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)], 3),
        least=round(ordered[0], 3),
    )


def table(rows: Sequence[Sequence[object]], heads: Sequence[str]) -> str:
    """Lay out a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
