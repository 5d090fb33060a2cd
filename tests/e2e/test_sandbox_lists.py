"""What is told of sandboxes: lists, nodes, usage, and changes as they come."""

import pytest

from tests.support.api import SANDBOX_FIELDS, Api, Json
from tests.support.rooms import until

PAGE = f"""query($first: Int!, $after: String, $filter: SandboxFilter) {{
    sandboxes(first: $first, after: $after, filter: $filter) {{
        totalCount nodes {{ {SANDBOX_FIELDS} }} edges {{ cursor node {{ id }} }}
        pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"""
CHANGED = f"""subscription($id: ID) {{ sandboxChanged(sandboxId: $id) {{
    at deletedSandboxId sandbox {{ {SANDBOX_FIELDS} }} }} }}"""
USAGE = """{ viewer { id role email usage { sandboxes runningSandboxes runningExecutions }
    limits { maxSandboxes maxRunningSandboxes maxConcurrentExecutions } } }"""


async def page(
    api: Api, first: int = 20, after: str | None = None, wanted: Json | None = None
) -> Json:
    """Return one page of a user's sandboxes."""
    values = {"first": first, "after": after, "filter": wanted}
    found: Json = (await api.query(PAGE, **values))["sandboxes"]
    return found


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
        await fresh.change("startSandbox", sandbox)
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
