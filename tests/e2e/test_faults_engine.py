"""The Docker daemon killed while code runs; it serves every sandbox of the machine."""

import os
import signal

import pytest

from ops.engine import Engine
from tests.support.api import Api
from tests.support.faults import eventually
from tests.support.stack import Stack, docker

TICKS = 8
TICK = f"import time\nfor n in range({TICKS}):\n    print(n, flush=True)\n    time.sleep(0.5)"


def containers_of_others(stack: Stack) -> list[str]:
    """Name the containers of this machine that are not this instance's."""
    listed = docker("ps", "--format", '{{.Names}} {{.Label "sandbox-api.instance"}}')
    return [line for line in listed.splitlines() if not line.endswith(f" {stack.instance}")]


@pytest.mark.long
@pytest.mark.alone
async def test_docker_killed_during_a_run(api: Api, sandbox: str, stack: Stack) -> None:
    """What runs goes on and is heard; after Docker's return the sandbox works, with its files."""
    if containers_of_others(stack):
        pytest.skip("Docker runs containers of others, which would end with it.")
    engine = Engine()
    daemon = engine.pid()
    assert daemon is not None
    await api.upload(sandbox, "kept.txt", b"kept")
    try:
        async with api.live(sandbox, TICK) as live:
            await live.until("OutputChunk", "0")
            os.kill(daemon, signal.SIGKILL)
            run = await live.end()
    finally:
        engine.ensure()
    again = await eventually(
        lambda: api.run(sandbox, "print(open('kept.txt').read())"),
        lambda found: found.status == "SUCCEEDED",
        30,
    )
    found = await api.sandbox(sandbox)

    assert (run.status, run.stdout) == ("SUCCEEDED", "".join(f"{n}\n" for n in range(TICKS)))
    assert again.stdout == "kept\n"
    assert found["status"] == "RUNNING"
