"""Containers and actors that something else ends, while code runs in them and while none does."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.api import Api
from tests.support.faults import (
    drive,
    kill_actor_process,
    kill_container,
    move,
    remove_container,
    session_of,
    settled,
)
from tests.support.stack import Stack
from tests.support.traces import actors, containers

LOOP = "print('begun', flush=True)\nimport time\ntime.sleep(60)"
ENDED_AT_MOST_SECONDS = 15


@pytest.mark.parametrize(
    ("deed", "reason"),
    [(kill_container, "killed from outside"), (remove_container, "from outside")],
)
async def test_a_container_ended_during_a_run(
    api: Api, sandbox: str, deed: Callable[[str], None], reason: str
) -> None:
    """The execution is LOST with the reason, what it had said stays, and the next one works."""
    async with api.live(sandbox, LOOP) as live:
        await live.until("OutputChunk", "begun")
        deed(sandbox)
        async with asyncio.timeout(ENDED_AT_MOST_SECONDS):
            run = await live.end()
    again = await api.run(sandbox, "print('again')")
    found = await api.sandbox(sandbox)

    assert run.status == "LOST"
    assert reason in run.error["value"]
    assert run.finished["execution"]["stdout"] == "begun\n"
    assert run.finished["execution"]["status"] == "LOST"
    assert again.stdout == "again\n"
    assert found["status"] == "RUNNING"
    assert len(containers(sandbox)) == 1


@pytest.mark.parametrize("deed", [kill_container, remove_container])
async def test_a_container_ended_while_idle(
    api: Api, sandbox: str, deed: Callable[[str], None]
) -> None:
    """The next execution gets a new one with the same files; only the state is gone.

    One that comes at the very moment may be LOST with the container, and says so.
    """
    await api.upload(sandbox, "kept.txt", b"kept")
    await api.run(sandbox, "x = 1")
    deed(sandbox)

    code = "print('x' in globals(), open('kept.txt').read())"
    async with asyncio.timeout(ENDED_AT_MOST_SECONDS):
        run = await api.run(sandbox, code)
        told = run.finished["interpreterRestarted"]
        if run.status == "LOST":
            assert "from outside" in run.error["value"]
            run = await api.run(sandbox, code)

    assert told
    assert (run.status, run.stdout) == ("SUCCEEDED", "False kept\n"), run.events
    assert len(containers(sandbox)) == 1


def kill_by_ray(stack: Stack, session: str) -> None:
    """End an actor as another driver of the cluster can."""
    drive(stack, f"code-executor-{session}", "kill")


@pytest.mark.parametrize(
    "deed", [kill_actor_process, pytest.param(kill_by_ray, marks=pytest.mark.long)]
)
async def test_an_actor_ended_during_a_run(
    api: Api, stack: Stack, deed: Callable[[Stack, str], None]
) -> None:
    """The execution is LOST and the sandbox FAILED, both with the reason.

    The container is removed; the next start brings all back but the interpreter's state.
    """
    sandbox = await api.create()
    await api.upload(sandbox, "kept.txt", b"kept")
    session = await session_of(stack, sandbox)
    async with api.live(sandbox, LOOP) as live:
        await live.until("OutputChunk", "begun")
        await asyncio.to_thread(deed, stack, session)
        async with asyncio.timeout(ENDED_AT_MOST_SECONDS):
            run = await live.end()
    record = await api.query(
        "query($id: ID!) { execution(id: $id) { status error { value } } }", id=run.id
    )
    failed = await settled(api, sandbox, "FAILED")

    assert run.status == "LOST"
    assert record["execution"]["status"] == "LOST"
    assert "killed from outside" in record["execution"]["error"]["value"]
    assert "killed from outside" in str(failed["statusReason"])

    started = await move(api, "startSandbox", sandbox)
    again = await api.run(sandbox, "print(open('kept.txt').read())")

    assert started["status"] == "RUNNING"
    assert again.stdout == "kept\n"
    assert len(containers(sandbox)) == 1
    await api.delete(sandbox)


async def test_an_actor_ended_while_idle(api: Api, stack: Stack) -> None:
    """It is noticed without anybody asking: FAILED with the reason, no container left over."""
    sandbox = await api.create()
    session = await session_of(stack, sandbox)

    await asyncio.to_thread(kill_actor_process, stack, session)
    failed = await settled(api, sandbox, "FAILED", ENDED_AT_MOST_SECONDS)
    stopped = await move(api, "stopSandbox", sandbox)

    assert "killed from outside" in str(failed["statusReason"])
    assert stopped["status"] == "STOPPED"
    assert containers(sandbox) == []
    assert actors(stack, session) == []
    await api.delete(sandbox)


@pytest.mark.long
async def test_a_session_that_another_driver_cleans_up(api: Api, stack: Stack) -> None:
    """ray-agents' cleanup_session leaves the sandbox STOPPED with the reason; a start works."""
    sandbox = await api.create()
    await api.upload(sandbox, "kept.txt", b"kept")
    session = await session_of(stack, sandbox)
    async with api.live(sandbox, LOOP) as live:
        await live.until("OutputChunk", "begun")
        said = await asyncio.to_thread(drive, stack, f"code-executor-{session}", "clean up")
        async with asyncio.timeout(ENDED_AT_MOST_SECONDS):
            run = await live.end()
    stopped = await settled(api, sandbox, "STOPPED")
    left = (containers(sandbox), actors(stack, session))
    await move(api, "startSandbox", sandbox)
    again = await api.run(sandbox, "print(open('kept.txt').read())")
    await api.delete(sandbox)

    assert "success" in said
    assert run.status == "LOST"
    assert "cleanup_session" in run.error["value"]
    assert "cleanup_session" in str(stopped["statusReason"])
    assert left == ([], [])
    assert again.stdout == "kept\n"
