"""How a peer's program speaks: `"run"` on standard input, the seconds on standard output."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

CODE = 'print("hi")'
SAID = "hi\n"
Once = Callable[[], Awaitable[tuple[float, float]]]


def main(
    package: str, opened: Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Once]]
) -> None:
    """Open the peer with the options of the command line, and serve it until the input ends."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    try:
        asyncio.run(_serve(f"{package} {version(package)}", opened(options)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the benchmark says it
        _say({"failed": " ".join(f"{type(error).__name__}: {error}".split())})


async def _serve(name: str, opening: AbstractAsyncContextManager[Once]) -> None:
    async with opening as once:
        _say({"ready": name})
        while await asyncio.to_thread(sys.stdin.readline):
            first, end = await once()
            _say({"first": first, "end": end})


def _say(answer: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
