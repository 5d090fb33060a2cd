"""`make bench`: measure, print, and write it beside the machine and the date."""

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


def _measured(settings: Settings) -> "Results":
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(settings.layout.ray_token)
    # Only now: Ray reads how to authenticate when it is imported.
    from bench.measure import measure  # noqa: PLC0415

    return asyncio.run(measure(settings))


def _print(results: "Results") -> None:
    rows = [(one.name, one.runs, one.p50, one.p99, one.least) for one in results.figures]
    print(table(rows, ("measured", "runs", "p50 ms", "p99 ms", "least ms")))
    print()
    for name, ratio in results.ratios.items():
        print(f"{name}: {ratio}")
    for name, found in results.streams.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in found.items())}")
    for name, why in results.missing.items():
        print(f"not measured: {name}: {why}")


def _write(machine: dict[str, object], results: "Results") -> None:
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / time.strftime("%Y-%m-%d")
    content = json.dumps(machine | results.to_json(), indent=2)
    target.with_suffix(".json").write_text(content + "\n")
    drawn = bars('First output of print("hi"), p50', results.first, OURS)
    target.with_suffix(".svg").write_text(drawn)
    print(f"\nwritten to {target.relative_to(REPOSITORY)}.json and .svg")


def main() -> int:
    """Measure, print, write."""
    settings = Settings.read()
    machine = _machine()
    results = _measured(settings)
    _print(results)
    _write(machine, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
