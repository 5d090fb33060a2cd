"""`make bench`: measure, print a table, and write it beside the machine and the date."""

import asyncio
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path

from app.instance import open_instance, ray_address
from app.settings import Settings
from app.token import DEVELOPER, HOUR_SECONDS, make_token
from bench.figures import Figure, figure, table
from bench.servers import served
from bench.streams import CREATE, DELETE, cold_start, flood, flushed
from ops.layout import REPOSITORY

Once = Callable[[], Awaitable[tuple[float, float]]]

RUNS = 300
STOCK_RUNS = 20
COLD_RUNS = 5
FLOOD_BYTES = 200 * 1024 * 1024
PRINT_RUNS = 20
PRINTS = 3000
RESULTS = Path(__file__).parent / "results"
FLOOD = f"""
import os
block = b"x" * 65535 + b"\\n"
for _ in range({FLOOD_BYTES // 65536}):
    os.write(1, block)
"""
FLUSHED = f"for i in range({PRINTS}): print(i, flush=True)"


async def _latencies(measured: Mapping[str, Once], runs: Mapping[str, int]) -> list[Figure]:
    """Measure all subjects in turn, so that a drift of the machine meets all alike."""
    first: dict[str, list[float]] = {name: [] for name in measured}
    end: dict[str, list[float]] = {name: [] for name in measured}
    for turn in range(max(runs.values())):
        for name, once in measured.items():
            if turn % (max(runs.values()) // runs[name]) == 0:
                began, ended = await once()
                first[name].append(began)
                end[name].append(ended)
    return [figure(f"{name}: first output", first[name]) for name in first] + [
        figure(f"{name}: end", end[name]) for name in end if name == "executeCode"
    ]


async def _measure(settings: Settings) -> dict[str, object]:
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(settings.layout.ray_token)
    # Only now: Ray reads how to authenticate when it is imported.
    import ray  # noqa: PLC0415

    from bench import subjects  # noqa: PLC0415

    token = make_token(open_instance(settings).jwt_secret, DEVELOPER, HOUR_SECONDS)
    image = settings.sandbox_image
    ray.init(address=ray_address(settings), log_to_driver=False, logging_level=logging.ERROR)
    with ExitStack() as stack:
        url, process = stack.enter_context(served("main:app", "/ready"))
        bare, _ = stack.enter_context(served("bench.bare:app", "/graphql?query={nothing}"))
        cold = [await cold_start(url, token) for _ in range(COLD_RUNS)]
        runs = [subjects.docker_run(image) for _ in range(COLD_RUNS)]
        async with AsyncExitStack() as opened:
            client = await opened.enter_async_context(subjects.opened(url, token))
            made = await client.result(CREATE)
            sandbox = made["createSandbox"]["sandbox"]["id"]
            try:
                ours = await opened.enter_async_context(subjects.subscription(url, token, sandbox))
                measured = {
                    "bare Strawberry subscription": await opened.enter_async_context(
                        subjects.bare_subscription(bare)
                    ),
                    "executeCode": ours,
                    "raw exec stream": stack.enter_context(subjects.raw_stream(image)),
                    "ray-agents execute_code": stack.enter_context(subjects.stock_tool(image)),
                }
                for once in measured.values():
                    for _ in range(3):
                        await once()
                counts = dict.fromkeys(measured, RUNS) | {"ray-agents execute_code": STOCK_RUNS}
                figures = await _latencies(measured, counts)
                streamed = await flood(client, sandbox, FLOOD, process)
                prints = await flushed(client, sandbox, FLUSHED, PRINTS, PRINT_RUNS)
            finally:
                await client.result(DELETE, {"id": sandbox})
    ray.shutdown()
    return {
        "figures": [one.to_json() for one in figures]
        + [
            figure("createSandbox(start: true) to RUNNING", [c[0] for c in cold]).to_json(),
            figure("createSandbox to first output", [c[1] for c in cold]).to_json(),
            figure("docker run of the image under runsc", runs).to_json(),
        ],
        "stream": streamed,
        "flushed prints": prints,
    }


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


def _print(measured: dict[str, object]) -> None:
    figures = measured["figures"]
    assert isinstance(figures, list)  # noqa: S101 - made above
    rows = [(f["name"], f["runs"], f["p50"], f["p99"], f["least"]) for f in figures]
    print(table(rows, ("measured", "runs", "p50 ms", "p99 ms", "least ms")))
    first = {f["name"].removesuffix(": first output"): f["p50"] for f in figures}
    ours = first["executeCode"]
    print()
    print(f"executeCode / bare Strawberry: {ours / first['bare Strawberry subscription']:.2f}")
    print(f"ray-agents / executeCode: {first['ray-agents execute_code'] / ours:.0f}")
    print(f"stream: {measured['stream']}")
    print(f"flushed prints: {measured['flushed prints']}")


def main() -> int:
    """Set up, measure, print, write."""
    subprocess.run([sys.executable, "-m", "ops", "setup"], cwd=REPOSITORY, check=True)
    settings = Settings.read()
    machine = _machine()
    measured = machine | asyncio.run(_measure(settings))
    _print(measured)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{time.strftime('%Y-%m-%d')}.json"
    target.write_text(json.dumps(measured, indent=2) + "\n")
    print(f"\nwritten to {target.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
