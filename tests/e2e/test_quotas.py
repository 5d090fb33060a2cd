"""Limits of a user: each is named, holds against requests at once, and others feel nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from tests.support.api import Api, GraphQLError, Run
from tests.support.stack import Server, Stack, running_server
from tests.support.tokens import user_token

LIMITS = {
    "MAX_SANDBOXES": "3",
    "MAX_RUNNING_SANDBOXES": "1",
    "MAX_CONCURRENT_EXECUTIONS": "2",
}


@pytest.fixture(scope="module")
async def narrow(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server whose users have little; its keeper may be another server's."""
    log: Path = tmp_path_factory.mktemp("narrow") / "log"
    with running_server(stack, log=log, **LIMITS) as server:
        yield server


@pytest.fixture
async def twin(
    stack: Stack, poor: Api, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """The same user at another process with the same limits."""
    log: Path = tmp_path_factory.mktemp("twin") / "log"
    with running_server(stack, log=log, **LIMITS) as server:
        async with Api(server.url, poor.token) as client:
            yield client


@pytest.fixture
async def poor(stack: Stack, narrow: Server) -> AsyncIterator[Api]:
    """A user of that server; what is left of hers is deleted."""
    async with Api(narrow.url, user_token(stack)) as client:
        yield client
        left = await client.query("{ sandboxes { nodes { id } } }")
        for node in left["sandboxes"]["nodes"]:
            await client.delete(node["id"])


def refusals(results: list[object]) -> list[tuple[str, object]]:
    """Return code and limit of what was refused."""
    return [(e.code, e.extensions.get("limit")) for e in results if isinstance(e, GraphQLError)]


async def test_sandboxes_are_counted_when_many_come_at_once(poor: Api, api: Api) -> None:
    """Of five creates at once three pass; another user has the same right as before."""
    results = await asyncio.gather(
        *(poor.create(start=False) for _ in range(5)), return_exceptions=True
    )
    free = await api.create(start=False)
    await api.delete(free)

    assert refusals(list(results)) == [("QUOTA_EXCEEDED", "maxSandboxes")] * 2


async def test_running_sandboxes_and_executions_are_counted(poor: Api) -> None:
    """One too many is refused by the limit's name, until one before it has stopped."""
    sandbox = await poor.create()
    with pytest.raises(GraphQLError) as refused:
        await poor.create(name="one too many")
    second = await poor.sandbox(refused.value.extensions["sandboxId"])
    with pytest.raises(GraphQLError) as again:
        await poor.mutate("startSandbox", "sandbox { id }", sandboxId=second["id"])
    async with poor.live(sandbox, "input()") as one, poor.live(sandbox, "2") as two:
        asked = await one.until("InputRequested")
        await two.until("ExecutionQueued")
        results = await asyncio.gather(
            *(poor.run(sandbox, "3") for _ in range(3)), return_exceptions=True
        )
        await poor.mutate(
            "interruptExecution", "execution { id }", executionId=asked["executionId"]
        )
        await asyncio.gather(one.end(), two.end())
    after = await poor.run(sandbox, "4")
    await poor.mutate("stopSandbox", "sandbox { id }", sandboxId=sandbox)
    room = await poor.mutate("startSandbox", "sandbox { status }", sandboxId=second["id"])

    assert (refused.value.code, again.value.code) == ("QUOTA_EXCEEDED", "QUOTA_EXCEEDED")
    assert refused.value.extensions["limit"] == "maxRunningSandboxes"
    assert (second["name"], second["status"]) == ("one too many", "FAILED")
    assert second["statusReason"] == refused.value.message
    assert refusals(list(results)) == [("QUOTA_EXCEEDED", "maxConcurrentExecutions")] * 3
    assert after.result == "4"
    assert room == {"sandbox": {"status": "RUNNING"}}


async def test_two_processes_count_together(poor: Api, twin: Api) -> None:
    """Fifty creates, three starts and ten runs at once over two processes pass no limit."""
    users = (poor, twin)
    created = await asyncio.gather(
        *(users[n % 2].create(start=False) for n in range(50)), return_exceptions=True
    )
    made = [each for each in created if isinstance(each, str)]
    starts = await asyncio.gather(
        *(users[n % 2].change("startSandbox", each) for n, each in enumerate(made)),
        return_exceptions=True,
    )
    [running] = [each for each in starts if isinstance(each, dict)]
    name = running["id"]
    runs = [asyncio.create_task(users[n % 2].run(name, "input()")) for n in range(10)]
    refused = list(asyncio.as_completed(runs))
    told = [await _told(each) for each in refused[:8]]
    usage = (await poor.query("{ viewer { usage { sandboxes runningSandboxes } } }"))["viewer"]
    await poor.change("stopSandbox", name)
    ended = [(await each).status for each in refused[8:]]

    assert refusals(list(created)) == [("QUOTA_EXCEEDED", "maxSandboxes")] * 47
    assert refusals(list(starts)) == [("QUOTA_EXCEEDED", "maxRunningSandboxes")] * 2
    assert told == [("QUOTA_EXCEEDED", "maxConcurrentExecutions")] * 8
    assert usage == {"usage": {"sandboxes": 3, "runningSandboxes": 1}}
    assert set(ended) <= {"INTERRUPTED", "LOST"}


async def _told(run: Awaitable[Run]) -> tuple[str, object]:
    """Return code and limit of a run that is refused."""
    with pytest.raises(GraphQLError) as caught:
        await run
    return caught.value.code, caught.value.extensions.get("limit")
