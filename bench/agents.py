"""ray-agents' own tool, as it comes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from rayai.sandbox import cleanup_session, execute_code

from bench.turns import CODE, SAID, Once


@contextmanager
def stock_tool(image: str) -> Iterator[Once]:
    """ray-agents' `execute_code` on a session of its own, its stock executor under gVisor."""
    session = f"bench-{time.time_ns()}"
    # Its executor holds a whole CPU, and on two cores its tool would wait for one without end.
    tool, clean_up = execute_code.options(num_cpus=0), cleanup_session.options(num_cpus=0)

    async def once() -> tuple[float, float]:
        began = time.perf_counter()
        result = await tool.remote(CODE, session_id=session, image=image)
        taken = time.perf_counter() - began
        if result.get("stdout") != SAID:
            raise RuntimeError(f"ray-agents answered {result}")
        return taken, taken

    try:
        yield once
    finally:
        ray.get(clean_up.remote(session))
