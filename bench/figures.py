"""Durations, and what is said of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

MILLISECONDS = 1000.0
FIRST_OUTPUT = ": first output"


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


def first_outputs(figures: Sequence[Figure], names: Sequence[str]) -> dict[str, float]:
    """Return the p50 of the first output of those subjects that have one, in milliseconds."""
    by_name = {one.name: one.p50 for one in figures}
    return {name: by_name[name + FIRST_OUTPUT] for name in names if name + FIRST_OUTPUT in by_name}


def ratios(first: Mapping[str, float], ours: str, floors: Collection[str]) -> dict[str, float]:
    """Return how many times as long the larger one takes: ours over floors, others over ours."""
    found: dict[str, float] = {}
    if ours not in first:
        return found
    for name, milliseconds in first.items():
        if name in floors:
            found[f"{ours} / {name}"] = round(first[ours] / milliseconds, 2)
        elif name != ours:
            found[f"{name} / {ours}"] = round(milliseconds / first[ours], 2)
    return found


def table(rows: Sequence[Sequence[object]], heads: Sequence[str]) -> str:
    """Lay out a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
