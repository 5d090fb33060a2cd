"""llm-sandbox: one session kept open, over Docker, with our image and our limits."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from llm_sandbox import SandboxSession

from bench.peers import lines


@asynccontextmanager
async def opened(options: Mapping[str, Any]) -> AsyncIterator[lines.Once]:
    """Open a session as its documentation advises where the image has all that is needed.

    A folder of the image as the place for code: gVisor shows Docker none that was made inside.
    """
    session = SandboxSession(
        lang="python",
        image=options["image"],
        keep_template=True,
        skip_environment_setup=True,
        runtime_configs=options["limits"],
        workdir=options["folder"],
    )
    with session:

        async def once() -> tuple[float, float]:
            arrived: list[float] = []
            began = time.perf_counter()
            result = session.run(
                lines.CODE, on_stdout=lambda _: arrived.append(time.perf_counter() - began)
            )
            taken = time.perf_counter() - began
            if result.stdout != lines.SAID:
                raise RuntimeError(f"it answered {result}")
            return arrived[0], taken

        yield once


if __name__ == "__main__":
    lines.main("llm-sandbox", opened)
