"""Requests that race for one sandbox, from one API process and from two, on the real stack."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from tests.support.api import Api, GraphQLError
from tests.support.faults import eventually, move, session_of, settled
from tests.support.stack import Server, Stack, running_server
from tests.support.tokens import user_token
from tests.support.traces import actors, containers, places, rows

START = "mutation($id: ID!) { startSandbox(input: {sandboxId: $id}) { sandbox { status } } }"


@pytest.fixture(scope="module")
async def racers(
    stack: Stack, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Api, Api]]:
    """One user at two API processes."""
    log = tmp_path_factory.mktemp("second") / "log"
    token = user_token(stack)
    with running_server(stack, log=log) as second:
        async with Api(server.url, token) as here, Api(second.url, token) as there:
            yield here, there


async def starting(api: Api, sandbox: str) -> None:
    """Wait until a start is under way."""
    await settled(api, sandbox, "STARTING")


async def outcome(request: "asyncio.Task[dict[str, object]]") -> str:
    """Return the status that a request came to, or its error's code."""
    try:
        return str((await request)["status"])
    except GraphQLError as error:
        return error.code


async def test_ten_starts_at_once_make_one_container(racers: tuple[Api, Api]) -> None:
    """Ten starts over two processes all return RUNNING, of one container that runs code."""
    sandbox = await racers[0].create(start=False)

    starts = [asyncio.create_task(move(racers[n % 2], "startSandbox", sandbox)) for n in range(10)]
    statuses = [await outcome(start) for start in starts]
    run = await racers[1].run(sandbox, "print(6 * 7)")
    found = containers(sandbox)
    await racers[0].delete(sandbox)

    assert statuses == ["RUNNING"] * 10
    assert len(found) == 1
    assert run.stdout == "42\n"
    assert containers(sandbox) == []


async def test_ten_creates_with_one_key_make_one_sandbox(racers: tuple[Api, Api]) -> None:
    """Ten over two processes all return the first one's, RUNNING, whatever else they ask for."""
    key = uuid4().hex
    made = await asyncio.gather(
        *(racers[n % 2].create(name=f"racer {n}", idempotencyKey=key) for n in range(10))
    )
    name = (await racers[0].sandbox(made[0]))["name"]
    later = await racers[1].mutate(
        "createSandbox",
        "sandbox { id name status metadata }",
        name="another",
        metadata={"a": "b"},
        idempotencyKey=key,
    )
    found = containers(made[0])
    await racers[0].delete(made[0])
    anew = await racers[1].create(start=False, idempotencyKey=key)
    await racers[1].delete(anew)

    assert len(set(made)) == 1
    assert len(found) == 1
    assert later["sandbox"] == {"id": made[0], "name": name, "status": "RUNNING", "metadata": {}}
    assert anew != made[0]


async def test_a_deletion_during_a_start_leaves_nothing(
    stack: Stack, racers: tuple[Api, Api]
) -> None:
    """The start says NOT_FOUND; container, actor, mount, folder and rows are gone."""
    here, there = racers
    sandbox = await here.create(start=False)
    start = asyncio.create_task(move(here, "startSandbox", sandbox))
    await starting(there, sandbox)
    session = await session_of(stack, sandbox)

    await there.delete(sandbox)

    assert await outcome(start) == "NOT_FOUND"
    assert await rows(stack, sandbox) == {"sandboxes": 0, "executions": 0, "packages": 0}
    assert containers(sandbox) == []
    assert places(stack, session) == []
    assert actors(stack, session) == []


async def test_a_stop_during_a_start_wins(stack: Stack, racers: tuple[Api, Api]) -> None:
    """The sandbox is STOPPED and nothing of it runs; the start says CONFLICT."""
    here, there = racers
    sandbox = await here.create(start=False)
    start = asyncio.create_task(move(here, "startSandbox", sandbox))
    await starting(there, sandbox)
    session = await session_of(stack, sandbox)

    stopped = await move(there, "stopSandbox", sandbox)
    started = await outcome(start)
    after = await here.sandbox(sandbox)

    assert stopped["status"] == "STOPPED"
    assert started == "CONFLICT"
    assert after["status"] == "STOPPED"
    assert containers(sandbox) == []
    assert actors(stack, session) == []
    await here.delete(sandbox)


async def test_a_start_while_stopping_waits_for_its_turn(racers: tuple[Api, Api]) -> None:
    """A start that meets a stop begins after it, and both return what they promise."""
    here, there = racers
    sandbox = await here.create()
    stop = asyncio.create_task(move(here, "stopSandbox", sandbox))
    await settled(there, sandbox, "STOPPING")

    started = await move(there, "startSandbox", sandbox)
    stopped = await outcome(stop)
    run = await here.run(sandbox, "print('again')")

    assert started["status"] == "RUNNING"
    assert stopped == "STOPPED"
    assert run.stdout == "again\n"
    assert len(containers(sandbox)) == 1
    await here.delete(sandbox)


async def test_a_client_that_leaves_ends_no_start(racers: tuple[Api, Api]) -> None:
    """A connection cut during a start, or while creating, leaves a sandbox that comes up."""
    api = racers[0]
    sandbox = await api.create(start=False)
    async with httpx.AsyncClient(headers=api.http.headers, base_url=api.url) as client:
        body = {"query": START, "variables": {"id": sandbox}}
        request = asyncio.create_task(client.post("/graphql", json=body, timeout=60))
        await starting(api, sandbox)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)

    up = await settled(api, sandbox, "RUNNING")
    run = await api.run(sandbox, "print('up')")

    assert up["statusReason"] is None
    assert run.stdout == "up\n"
    assert len(containers(sandbox)) == 1
    await api.delete(sandbox)


@pytest.mark.long
async def test_a_process_notices_what_another_did_to_a_sandbox(racers: tuple[Api, Api]) -> None:
    """After another process has stopped and started it, all calls reach the new session."""
    here, there = racers
    sandbox = await here.create()
    await here.upload(sandbox, "kept.txt", b"kept")
    await move(there, "stopSandbox", sandbox)
    await move(there, "startSandbox", sandbox)
    content = await here.download(sandbox, "kept.txt")
    await move(here, "stopSandbox", sandbox)
    await move(here, "startSandbox", sandbox)
    uploaded = await there.upload(sandbox, "new.txt", b"new")
    run = await there.run(sandbox, "print(open('new.txt').read())")

    assert content == b"kept"
    assert uploaded["sizeBytes"] == 3
    assert run.stdout == "new\n"
    await here.delete(sandbox)


async def test_a_storm_of_operations_ends_in_order(stack: Stack, racers: tuple[Api, Api]) -> None:
    """Whatever two processes do to one sandbox at once, it ends whole: one status, one truth."""
    here, there = racers
    sandbox = await here.create(start=False)
    verbs = ["startSandbox", "stopSandbox", "startSandbox", "startSandbox", "stopSandbox"]
    storm = [
        asyncio.create_task(move(api, verb, sandbox)) for verb in verbs for api in (here, there)
    ]

    outcomes = {await outcome(request) for request in storm}
    session = await session_of(stack, sandbox)
    end = await eventually(
        lambda: there.sandbox(sandbox), lambda seen: seen["status"] in {"RUNNING", "STOPPED"}
    )
    running = len(containers(sandbox))
    await here.delete(sandbox)

    assert outcomes <= {"RUNNING", "STOPPED", "CONFLICT"}
    assert running == (1 if end["status"] == "RUNNING" else 0)
    assert actors(stack, session) == []
    assert places(stack, session) == []
