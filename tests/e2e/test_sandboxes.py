"""Sandboxes: made, listed, changed, moved through their life, watched, and deleted for good."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support import traces
from tests.support.api import SANDBOX_FIELDS, Api, GraphQLError, Json
from tests.support.rooms import until
from tests.support.stack import Server, Stack
from tests.support.tokens import user_token

PAGE = f"""query($first: Int!, $after: String, $filter: SandboxFilter) {{
    sandboxes(first: $first, after: $after, filter: $filter) {{
        totalCount nodes {{ {SANDBOX_FIELDS} }} edges {{ cursor node {{ id }} }}
        pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"""
CHANGED = f"""subscription($id: ID) {{ sandboxChanged(sandboxId: $id) {{
    at deletedSandboxId sandbox {{ {SANDBOX_FIELDS} }} }} }}"""
USAGE = """{ viewer { id role email usage { sandboxes runningSandboxes runningExecutions }
    limits { maxSandboxes maxRunningSandboxes maxConcurrentExecutions } } }"""


@pytest.fixture
async def fresh(stack: Stack, server: Server) -> AsyncIterator[Api]:
    """A user who has nothing; what the test leaves is deleted."""
    async with Api(server.url, user_token(stack)) as client:
        yield client
        left = await client.query(PAGE, first=100)
        for node in left["sandboxes"]["nodes"]:
            await client.delete(node["id"])


async def page(
    api: Api, first: int = 20, after: str | None = None, wanted: Json | None = None
) -> Json:
    """Return one page of a user's sandboxes."""
    values = {"first": first, "after": after, "filter": wanted}
    found: Json = (await api.query(PAGE, **values))["sandboxes"]
    return found


async def change(api: Api, action: str, sandbox: str) -> Json:
    """Start, stop or restart a sandbox and return it."""
    payload = await api.mutate(action, f"sandbox {{ {SANDBOX_FIELDS} }}", sandboxId=sandbox)
    changed: Json = payload["sandbox"]
    return changed


async def test_a_sandbox_through_its_life(fresh: Api) -> None:
    """Made STOPPED, started, stopped, started: files and environment stay, state goes."""
    variables = [{"name": "API_KEY", "value": "s3cr3t=é"}, {"name": "EMPTY", "value": ""}]
    sandbox = await fresh.create(
        start=False, name="later", metadata={"team": "a"}, environment=variables
    )
    made = await fresh.sandbox(sandbox, f"{SANDBOX_FIELDS} environmentVariableNames")
    started = await change(fresh, "startSandbox", sandbox)
    again = await change(fresh, "startSandbox", sandbox)
    code = "import os\nprint(os.environ['API_KEY'], repr(os.environ['EMPTY']))"
    first = await fresh.run(sandbox, f"{code}\nkept = 1\nopen('note.txt', 'w').write('kept')")
    stopped = await change(fresh, "stopSandbox", sandbox)
    still = await change(fresh, "stopSandbox", sandbox)
    containers = traces.containers(sandbox)
    await change(fresh, "startSandbox", sandbox)
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
    restarted = await change(api, "restartSandbox", sandbox)
    state = await api.run(sandbox, "gone")

    assert restarted["status"] == "RUNNING"
    assert state.error["name"] == "NameError"
    assert await api.download(sandbox, "stays.txt") == b"here"


async def test_restart_ends_what_runs(api: Api, sandbox: str) -> None:
    """A running execution ends with the interpreter, and its readers are told."""
    async with api.live(sandbox, "print('up', flush=True)\nwhile True: pass") as live:
        await live.until("OutputChunk", "up")
        await change(api, "restartSandbox", sandbox)
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
    assert (await page(fresh))["totalCount"] == 2
    assert len(traces.containers(made[0])) == 1
    assert (await fresh.sandbox(made[0]))["status"] == "RUNNING"


async def test_starts_that_race_make_one_container(fresh: Api) -> None:
    """Two starts at once return one RUNNING sandbox; a delete during a start leaves nothing."""
    sandbox = await fresh.create(start=False)
    both = await asyncio.gather(*(change(fresh, "startSandbox", sandbox) for _ in range(2)))
    containers = traces.containers(sandbox)
    await change(fresh, "stopSandbox", sandbox)
    starting, deleted = await asyncio.gather(
        change(fresh, "startSandbox", sandbox), fresh.delete(sandbox), return_exceptions=True
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


async def test_sandboxes_come_in_pages_newest_first(fresh: Api) -> None:
    """Cursors lead through all of them once, whatever is made meanwhile."""
    made = [await fresh.create(start=False, name=f"box {n}") for n in range(5)]
    first = await page(fresh, 2)
    newer = await fresh.create(start=False, name="newer")
    second = await page(fresh, 2, first["pageInfo"]["endCursor"])
    third = await page(fresh, 2, second["pageInfo"]["endCursor"])

    pages = (first, second, third)
    assert [n["id"] for part in pages for n in part["nodes"]] == made[::-1]
    assert [part["pageInfo"]["hasNextPage"] for part in pages] == [True, True, False]
    assert [part["pageInfo"]["hasPreviousPage"] for part in pages] == [False, True, True]
    assert [part["totalCount"] for part in pages] == [5, 6, 6]
    for part in pages:
        cursors = [edge["cursor"] for edge in part["edges"]]
        assert [part["pageInfo"]["startCursor"], part["pageInfo"]["endCursor"]] == [
            cursors[0],
            cursors[-1],
        ]
        assert [edge["node"]["id"] for edge in part["edges"]] == [n["id"] for n in part["nodes"]]
    assert (await page(fresh, 1))["nodes"][0]["id"] == newer


async def test_sandboxes_are_filtered(fresh: Api) -> None:
    """By status, by every metadata pair and by a piece of the name, taken as it is."""
    names = {}
    for name, metadata in (
        ("100% done", {"team": "a", "env": "x"}),
        ("100 done", {"team": "a"}),
        ("under_score", {"team": "b"}),
        ("underXscore", {}),
    ):
        names[await fresh.create(start=False, name=name, metadata=metadata)] = name

    async def found(**wanted: object) -> set[str]:
        listed = await page(fresh, wanted=wanted)
        assert listed["totalCount"] == len(listed["nodes"])
        return {names[node["id"]] for node in listed["nodes"]}

    assert await found(nameContains="100%") == {"100% done"}
    assert await found(nameContains="r_s") == {"under_score"}
    assert await found(nameContains="\\") == set()
    assert await found(metadata={"team": "a"}) == {"100% done", "100 done"}
    assert await found(metadata={"team": "a", "env": "x"}) == {"100% done"}
    assert await found(metadata={"team": "c"}) == set()
    assert await found(status=["STOPPED"]) == set(names.values())
    assert await found(status=["RUNNING", "FAILED"]) == set()
    assert await found(status=[]) in (set(), set(names.values()))
    assert await found(status=["STOPPED"], metadata={"team": "b"}, nameContains="score") == {
        "under_score"
    }


async def test_node_finds_sandboxes_and_executions(api: Api, sandbox: str) -> None:
    """`node(id)` answers either with its type."""
    run = await api.run(sandbox, "1")
    document = """query($id: ID!) { node(id: $id) { __typename id
        ... on Execution { code sandbox { id } } ... on Sandbox { status } } }"""

    assert (await api.query(document, id=sandbox))["node"] == {
        "__typename": "Sandbox",
        "id": sandbox,
        "status": "RUNNING",
    }
    assert (await api.query(document, id=run.id))["node"] == {
        "__typename": "Execution",
        "id": run.id,
        "code": "1",
        "sandbox": {"id": sandbox},
    }


async def test_usage_counts_what_the_viewer_has(api: Api, fresh: Api, sandbox: str) -> None:
    """Sandboxes, running ones, and executions that have not ended."""
    empty = (await fresh.query(USAGE))["viewer"]
    await fresh.create(start=False)
    one = (await fresh.query(USAGE))["viewer"]["usage"]
    async with api.live(sandbox, "input()") as live:
        asked = await live.until("InputRequested")
        busy = (await api.query(USAGE))["viewer"]["usage"]
        await api.mutate("interruptExecution", "execution { id }", executionId=asked["executionId"])
        await live.end()

    assert empty["role"] == "authenticated"
    assert empty["limits"] == {
        "maxSandboxes": 100,
        "maxRunningSandboxes": 20,
        "maxConcurrentExecutions": 20,
    }
    assert empty["usage"] == {"sandboxes": 0, "runningSandboxes": 0, "runningExecutions": 0}
    assert one == {"sandboxes": 1, "runningSandboxes": 0, "runningExecutions": 0}
    assert busy["runningExecutions"] >= 1
    assert busy["runningSandboxes"] >= 1
    await until(lambda: none_running(api))


async def none_running(api: Api) -> bool:
    """Whether the records know that all of the user's executions have ended."""
    usage = (await api.query(USAGE))["viewer"]["usage"]
    return bool(usage["runningExecutions"] == 0)


async def test_changes_begin_with_the_present_and_go_on(fresh: Api) -> None:
    """`sandboxChanged` shows what there is, then each change, then the deletion."""
    sandbox = await fresh.create(start=False, name="one")
    async with fresh.following(CHANGED, "sandboxChanged") as live:
        present = await live.next()
        await fresh.mutate("updateSandbox", "sandbox { id }", sandboxId=sandbox, name="two")
        renamed = await live.next()
        await change(fresh, "startSandbox", sandbox)
        seen = []
        while "RUNNING" not in seen:
            seen.append((await live.next())["sandbox"]["status"])
        other = await fresh.create(start=False, name="other")
        made = await live.next()
        await fresh.delete(other)
        gone = await live.next()
        while gone["sandbox"] is not None:
            gone = await live.next()

    assert (present["sandbox"]["id"], present["sandbox"]["name"]) == (sandbox, "one")
    assert renamed["sandbox"]["name"] == "two"
    assert set(seen) <= {"STOPPED", "STARTING", "RUNNING"}
    assert made["sandbox"]["id"] == other
    assert gone["deletedSandboxId"] == other


async def test_changes_of_one_sandbox_leave_out_others(fresh: Api) -> None:
    """`sandboxChanged(sandboxId)` tells of that one alone, and ends with it."""
    sandbox = await fresh.create(start=False, name="watched")
    async with fresh.following(CHANGED, "sandboxChanged", id=sandbox) as live:
        await live.next()
        await fresh.create(start=False, name="unwatched")
        await fresh.mutate("updateSandbox", "sandbox { id }", sandboxId=sandbox, name="renamed")
        renamed = await live.next()
        await fresh.delete(sandbox)
        changes = [renamed]
        while changes[-1]["deletedSandboxId"] is None:
            changes.append(await live.next())
        with pytest.raises(StopAsyncIteration):
            await live.next()

    assert renamed["sandbox"]["name"] == "renamed"
    assert {c["sandbox"]["id"] for c in changes if c["sandbox"]} == {sandbox}
    assert changes[-1]["deletedSandboxId"] == sandbox
