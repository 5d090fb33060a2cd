"""Sandboxes: made, changed, moved through their life, and deleted for good."""

import asyncio

import pytest

from tests.support import traces
from tests.support.api import SANDBOX_FIELDS, Api, GraphQLError
from tests.support.stack import Stack

USAGE = "{ viewer { usage { sandboxes } } }"


async def test_a_sandbox_through_its_life(fresh: Api) -> None:
    """Made STOPPED, started, stopped, started: files and environment stay, state goes."""
    variables = [{"name": "API_KEY", "value": "s3cr3t=é"}, {"name": "EMPTY", "value": ""}]
    sandbox = await fresh.create(
        start=False, name="later", metadata={"team": "a"}, environment=variables
    )
    made = await fresh.sandbox(sandbox, f"{SANDBOX_FIELDS} environmentVariableNames")
    started = await fresh.change("startSandbox", sandbox)
    again = await fresh.change("startSandbox", sandbox)
    code = "import os\nprint(os.environ['API_KEY'], repr(os.environ['EMPTY']))"
    first = await fresh.run(sandbox, f"{code}\nkept = 1\nopen('note.txt', 'w').write('kept')")
    stopped = await fresh.change("stopSandbox", sandbox)
    still = await fresh.change("stopSandbox", sandbox)
    containers = traces.containers(sandbox)
    await fresh.change("startSandbox", sandbox)
    second = await fresh.run(sandbox, code)
    state = await fresh.run(sandbox, "kept")

    assert (made["status"], made["startedAt"], made["expiresAt"]) == ("STOPPED", None, None)
    assert (made["name"], made["metadata"]) == ("later", {"team": "a"})
    assert made["environmentVariableNames"] == ["API_KEY", "EMPTY"]
    assert started["status"] == again["status"] == "RUNNING"
    assert started["startedAt"] == again["startedAt"] is not None
    assert started["expiresAt"] is not None
    assert stopped["status"] == still["status"] == "STOPPED"
    assert stopped["expiresAt"] is None
    assert containers == []
    assert first.stdout == second.stdout == "s3cr3t=é ''\n"
    assert state.error["name"] == "NameError"
    assert await fresh.download(sandbox, "note.txt") == b"kept"


async def test_restart_clears_state_and_keeps_files(api: Api, sandbox: str) -> None:
    """`restartSandbox` gives a new interpreter over the same workspace."""
    await api.run(sandbox, "gone = 1\nopen('stays.txt', 'w').write('here')")
    restarted = await api.change("restartSandbox", sandbox)
    state = await api.run(sandbox, "gone")

    assert restarted["status"] == "RUNNING"
    assert state.error["name"] == "NameError"
    assert await api.download(sandbox, "stays.txt") == b"here"


async def test_restart_ends_what_runs(api: Api, sandbox: str) -> None:
    """A running execution ends with the interpreter, and its readers are told."""
    async with api.live(sandbox, "print('up', flush=True)\nwhile True: pass") as live:
        await live.until("OutputChunk", "up")
        await api.change("restartSandbox", sandbox)
        run = await live.end()

    assert run.status in {"INTERRUPTED", "LOST"}
    assert run.finished["interpreterRestarted"]
    assert (await api.run(sandbox, "2")).result == "2"


async def test_stats_measure_a_running_sandbox(api: Api, fresh: Api, sandbox: str) -> None:
    """`stats` has figures while RUNNING, and is null otherwise."""
    fields = """stats { sessionId executionCount uptimeSeconds containerStatus memoryUsedBytes
        cpuSeconds diskUsedBytes processes createdAt } limits { memoryBytes cpus processes
        diskBytes executionTimeoutSeconds idleTimeoutSeconds lifetimeSeconds }"""
    before = (await api.sandbox(sandbox, fields))["stats"]
    await api.run(sandbox, "open('big', 'wb').write(b'x' * 3_000_000)")
    found = await api.sandbox(sandbox, fields)
    after, limits = found["stats"], found["limits"]
    stopped = await fresh.create(start=False)

    assert after["executionCount"] == before["executionCount"] + 1
    assert after["containerStatus"] == "running"
    assert 0 < after["memoryUsedBytes"] < limits["memoryBytes"] == 512 * 1024 * 1024
    assert after["uptimeSeconds"] > before["uptimeSeconds"] > 0
    assert after["cpuSeconds"] >= before["cpuSeconds"] > 0
    assert 3_000_000 <= after["diskUsedBytes"] <= limits["diskBytes"]
    assert 1 <= after["processes"] <= limits["processes"]
    assert (await fresh.sandbox(stopped, "stats { sessionId }"))["stats"] is None


async def test_delete_leaves_nothing(fresh: Api, stack: Stack) -> None:
    """No container, folder, mount, row nor actor is left of a deleted sandbox."""
    sandbox = await fresh.create()
    run = await fresh.run(sandbox, "open('note.txt', 'w').write('x')")
    session = (await fresh.sandbox(sandbox, "stats { sessionId }"))["stats"]["sessionId"]
    assert traces.containers(sandbox)
    assert traces.places(stack, session)
    assert traces.actors(stack, session)
    assert await traces.rows(stack, sandbox) == {"sandboxes": 1, "executions": 1, "packages": 0}

    await fresh.delete(sandbox)

    assert traces.containers(sandbox) == []
    assert traces.places(stack, session) == []
    assert traces.actors(stack, session) == []
    assert await traces.rows(stack, sandbox) == {"sandboxes": 0, "executions": 0, "packages": 0}
    assert await fresh.sandbox(sandbox) is None
    with pytest.raises(GraphQLError) as again:
        await fresh.delete(sandbox)
    assert again.value.code == "NOT_FOUND"
    node = "query($id: ID!) { node(id: $id) { id } execution(id: $id) { id } }"
    assert await fresh.query(node, id=run.id) == {"node": None, "execution": None}


async def test_delete_ends_what_runs(fresh: Api) -> None:
    """A reader of an execution in a deleted sandbox is told the end, and nothing hangs."""
    sandbox = await fresh.create()
    async with fresh.live(sandbox, "print('up', flush=True)\nwhile True: pass") as live:
        await live.until("OutputChunk", "up")
        await fresh.delete(sandbox)
        run = await live.end()

    assert run.status in {"INTERRUPTED", "LOST"}


async def test_creates_that_race_with_one_key_make_one_sandbox(fresh: Api) -> None:
    """Creates at once with one idempotencyKey return the first one's sandbox, RUNNING."""
    made = await asyncio.gather(
        *(fresh.create(name=f"racer {n}", idempotencyKey="once") for n in range(4))
    )
    other = await fresh.create(start=False, idempotencyKey="twice")

    assert len(set(made)) == 1
    assert other not in made
    assert (await fresh.query(USAGE))["viewer"]["usage"]["sandboxes"] == 2
    assert len(traces.containers(made[0])) == 1
    assert (await fresh.sandbox(made[0]))["status"] == "RUNNING"


async def test_starts_that_race_make_one_container(fresh: Api) -> None:
    """Two starts at once return one RUNNING sandbox; a delete during a start leaves nothing."""
    sandbox = await fresh.create(start=False)
    both = await asyncio.gather(*(fresh.change("startSandbox", sandbox) for _ in range(2)))
    containers = traces.containers(sandbox)
    await fresh.change("stopSandbox", sandbox)
    starting, deleted = await asyncio.gather(
        fresh.change("startSandbox", sandbox), fresh.delete(sandbox), return_exceptions=True
    )

    assert [each["status"] for each in both] == ["RUNNING", "RUNNING"]
    assert len(containers) == 1
    assert deleted is None
    assert isinstance(starting, dict | GraphQLError)
    assert traces.containers(sandbox) == []


async def test_update_sets_keeps_and_clears(fresh: Api) -> None:
    """A field given is set, one left out keeps its value, null clears it."""
    fields = "sandbox { name metadata updatedAt limits { idleTimeoutSeconds lifetimeSeconds } }"
    sandbox = await fresh.create(start=False, name="old", metadata={"a": "1", "b": "2"})
    named = await fresh.mutate("updateSandbox", fields, sandboxId=sandbox, name="ñew")
    limited = await fresh.mutate(
        "updateSandbox",
        fields,
        sandboxId=sandbox,
        metadata={"c": "3"},
        idleTimeoutSeconds=60,
        lifetimeSeconds=7200,
    )
    cleared = await fresh.mutate(
        "updateSandbox",
        fields,
        sandboxId=sandbox,
        name=None,
        metadata=None,
        idleTimeoutSeconds=None,
        lifetimeSeconds=None,
    )

    defaults = {"idleTimeoutSeconds": 3600, "lifetimeSeconds": 86400}
    assert named["sandbox"]["name"] == "ñew"
    assert named["sandbox"]["metadata"] == {"a": "1", "b": "2"}
    assert named["sandbox"]["limits"] == defaults
    assert limited["sandbox"]["name"] == "ñew"
    assert limited["sandbox"]["metadata"] == {"c": "3"}
    assert limited["sandbox"]["limits"] == {"idleTimeoutSeconds": 60, "lifetimeSeconds": 7200}
    assert (cleared["sandbox"]["name"], cleared["sandbox"]["metadata"]) == (None, {})
    assert cleared["sandbox"]["limits"] == defaults
    assert cleared["sandbox"]["updatedAt"] > named["sandbox"]["updatedAt"]


async def test_a_longer_lifetime_moves_the_expiry(api: Api, sandbox: str) -> None:
    """`expiresAt` follows the limits of a RUNNING sandbox."""
    fields = "sandbox { expiresAt }"
    short = await api.mutate("updateSandbox", fields, sandboxId=sandbox, idleTimeoutSeconds=1800)
    long = await api.mutate("updateSandbox", fields, sandboxId=sandbox, idleTimeoutSeconds=7200)

    assert long["sandbox"]["expiresAt"] > short["sandbox"]["expiresAt"]
