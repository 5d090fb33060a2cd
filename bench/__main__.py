"""`make bench`: measure, print, and write it beside the machine and the date.

`python -m bench queries`, on a stack that is set up, measures the queries a second alone.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import Settings
from bench.figures import table
from bench.plot import bars
from bench.turns import OURS
from ops.layout import REPOSITORY

if TYPE_CHECKING:
    from bench.measure import Results

FOLDER = Path(__file__).parent / "results"
QUERIES = "queries"


def _machine() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "load before": os.getloadavg(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip(),
    }


def _measured(settings: Settings, part: str | None) -> "Results":
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(settings.layout.ray_token)
    # Only now: Ray reads how to authenticate when it is imported.
    from bench.measure import measure, measure_queries  # noqa: PLC0415

    return asyncio.run(measure_queries(settings) if part == QUERIES else measure(settings))


def _print(results: "Results") -> None:
    if results.figures:
        rows = [(one.name, one.runs, one.p50, one.p99, one.least) for one in results.figures]
        print(table(rows, ("measured", "runs", "p50 ms", "p99 ms", "least ms")))
        print()
    for name, ratio in results.ratios.items():
        print(f"{name}: {ratio}")
    for document, layers in results.queries.items():
        compared = [(name, *found.values()) for name, found in layers.items()]
        heads = next(iter(layers.values())).keys()
        print(f"{table(compared, (document, *heads))}\n")
    for name, found in results.streams.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in found.items())}")
    for name, why in results.missing.items():
        print(f"not measured: {name}: {why}")


def _write(machine: dict[str, object], results: "Results", part: str | None) -> None:
    FOLDER.mkdir(exist_ok=True)
    day = time.strftime("%Y-%m-%d")
    target = FOLDER / (f"{day}.json" if part is None else f"{day}-{part}.json")
    found = results.to_json() if part is None else {part: results.to_json()[part]}
    target.write_text(json.dumps(machine | found, indent=2) + "\n")
    print(f"\nwritten to {target.relative_to(REPOSITORY)}")
    if results.first:
        drawn = bars('First output of print("hi"), p50', results.first, OURS)
        target.with_suffix(".svg").write_text(drawn)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="?", choices=[QUERIES], help="measure this alone")
    part: str | None = parser.parse_args().part
    settings = Settings.read()
    machine = _machine()
    results = _measured(settings, part)
    _print(results)
    _write(machine, results, part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
