"""What a node lacks: Docker, an image, gVisor, room; and that all is well once it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.api import Api, GraphQLError
from tests.support.faults import docker_away, eventually, move, session_of
from tests.support.stack import Server, Stack, running_server
from tests.support.tokens import user_token
from tests.support.traces import actors, containers, places

ABSENT = "sandbox-api/absent:latest"
CAPACITY_SECONDS = 20


async def refused(api: Api) -> GraphQLError:
    """Create a sandbox that can't be started, and return the error."""
    with pytest.raises(GraphQLError) as caught:
        await api.create()
    return caught.value


async def readiness(server: Server) -> tuple[int, Any]:
    """Ask a server whether it is ready."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/ready", timeout=30)
    return answer.status_code, answer.json()


@pytest.mark.long
@pytest.mark.alone
async def test_docker_away(api: Api, server: Server, stack: Stack) -> None:
    """Starts are SERVICE_UNAVAILABLE and leave rows FAILED with the reason; /ready says why.

    Stops work all the same. Once it is back, startSandbox works and /ready is well.
    """
    running = await api.create()
    await api.upload(running, "kept.txt", b"kept")
    with docker_away():
        error, stopped, (status, answer) = await asyncio.gather(
            refused(api),
            move(api, "stopSandbox", running),
            eventually(lambda: readiness(server), lambda seen: seen[0] != httpx.codes.OK, 15),
        )
    sandbox = error.extensions["sandboxId"]
    failed = await api.sandbox(sandbox)
    started = await move(api, "startSandbox", sandbox)
    again = await move(api, "startSandbox", running)
    content = await api.download(running, "kept.txt")
    well, _ = await eventually(
        lambda: readiness(server), lambda seen: seen[0] == httpx.codes.OK, 15
    )

    assert error.code == "SERVICE_UNAVAILABLE"
    assert "Docker" in error.message
    assert failed["status"] == "FAILED"
    assert "Docker" in failed["statusReason"]
    assert stopped["status"] == "STOPPED"
    assert status == httpx.codes.SERVICE_UNAVAILABLE
    assert any("Docker" in line for line in answer["missing"])
    assert (started["status"], again["status"]) == ("RUNNING", "RUNNING")
    assert content == b"kept"
    assert well == httpx.codes.OK
    for each in (sandbox, running):
        assert len(containers(each)) == 1
        session = await session_of(stack, each)
        await api.delete(each)
        assert places(stack, session) == []


@pytest.fixture(scope="module")
async def lacking(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A user of a process that allows an image which no node has."""
    log = tmp_path_factory.mktemp("lacking") / "log"
    settings = {"SANDBOX_IMAGES": ABSENT, "SANDBOX_CPU_RESERVATION": "1000"}
    with running_server(stack, log=log, **settings) as server:
        async with Api(server.url, user_token(stack)) as client:
            yield client


async def test_no_room_in_the_cluster(lacking: Api, stack: Stack) -> None:
    """CAPACITY_EXHAUSTED within seconds, the row FAILED, nothing made of it left."""
    began = time.monotonic()
    error = await refused(lacking)
    took = time.monotonic() - began
    sandbox = error.extensions["sandboxId"]
    failed = await lacking.sandbox(sandbox)
    session = await session_of(stack, sandbox)

    assert error.code == "CAPACITY_EXHAUSTED"
    assert error.extensions["retryAfterSeconds"] > 0
    assert took < CAPACITY_SECONDS
    assert failed["status"] == "FAILED"
    assert "room" in failed["statusReason"]
    assert containers(sandbox) == []
    assert actors(stack, session) == []
    assert places(stack, session) == []
    await lacking.delete(sandbox)


async def test_image_missing(lacking: Api, api: Api, stack: Stack) -> None:
    """The row is FAILED with the reason, and says which image is missing."""
    sandbox = await lacking.create(start=False, image=ABSENT)
    # By a process that has room: the record is of an image that was allowed once.
    async with Api(api.url, lacking.token) as client:
        with pytest.raises(GraphQLError) as caught:
            await move(client, "startSandbox", sandbox)
        failed = await client.sandbox(sandbox)
        session = await session_of(stack, sandbox)
        left = (containers(sandbox), actors(stack, session))
        await client.delete(sandbox)

    assert caught.value.code == "SERVICE_UNAVAILABLE"
    assert ABSENT in caught.value.message
    assert failed["status"] == "FAILED"
    assert ABSENT in failed["statusReason"]
    assert left == ([], [])
