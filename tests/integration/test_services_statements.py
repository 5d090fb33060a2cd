"""How many statements an operation takes, counted where they leave for Postgres."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from resolvers.context import Context
from tests.support.postgres import Servers, TestDatabase
from tests.support.statements import SCHEMA, Counted, as_superuser, counted, make_records

SANDBOXES = 100
EXECUTIONS = 7
PAGES = """query ($n: Int!) { sandboxes(first: $n) { nodes { id executions(first: 5) {
    %s nodes { %s } pageInfo { hasNextPage } } } } }"""


@pytest.fixture(scope="module")
async def made(servers: Servers) -> AsyncIterator[TestDatabase]:
    """A database of these tests' own."""
    async with servers("embedded").database() as database:
        yield database


@pytest.fixture
async def user(made: TestDatabase) -> AsyncIterator[Counted]:
    """A user with a hundred sandboxes that have run seven executions each."""
    async with counted(made) as found:
        await make_records(made, found, SANDBOXES, EXECUTIONS)
        yield found


@pytest.mark.parametrize(
    ("fields", "most"), [("status", 2), ("code stdout", 3), ("status sandbox { name }", 3)]
)
async def test_a_page_of_pages(user: Counted, fields: str, most: int) -> None:
    """A hundred sandboxes with five executions each take as many statements as one with five."""
    _, few = await user.ask(PAGES % ("", fields), n=1)
    transactions = user.transactions
    data, many = await user.ask(PAGES % ("", fields), n=SANDBOXES)
    nodes = data["sandboxes"]["nodes"]

    assert len(many) == len(few) == most
    assert user.transactions == transactions <= most
    assert len(nodes) == SANDBOXES
    assert {len(node["executions"]["nodes"]) for node in nodes} == {5}
    assert {node["executions"]["pageInfo"]["hasNextPage"] for node in nodes} == {True}
    if "stdout" in fields:
        for node in nodes:
            shown = [(each["code"], each["stdout"]) for each in node["executions"]["nodes"]]
            assert shown == [(str(number), node["id"]) for number in (7, 6, 5, 4, 3)]


async def test_counts_are_asked_for_together_and_only_where_shown(user: Counted) -> None:
    """One statement more for the counts of all, and none where nobody looks."""
    _, without = await user.ask(PAGES % ("", "id"), n=SANDBOXES)
    data, counting = await user.ask(PAGES % ("totalCount", "id"), n=SANDBOXES)
    alone, only = await user.ask("{ sandboxes { totalCount } }")

    counts = {node["executions"]["totalCount"] for node in data["sandboxes"]["nodes"]}
    assert counts == {EXECUTIONS}
    assert not any("count(" in each for each in without)
    assert len(counting) == len(without) + 1
    assert alone == {"sandboxes": {"totalCount": SANDBOXES}}
    assert len(only) == 1


async def test_a_page_that_is_refused_is_refused_alone(user: Counted) -> None:
    """What other fields ask for at the same time is answered, each as it was asked for."""
    query = """{ sandboxes(first: 2) { nodes { a: executions(first: 0) { nodes { id } }
        b: executions(first: 2) { nodes { id } } c: executions(first: 3) { nodes { code } } } } }"""
    context = Context(user.services, "request", user.viewer)
    result = await SCHEMA.execute(query.replace("first: 0", "first: 1"), context_value=context)
    refused = await SCHEMA.execute(query, context_value=context)
    paged = await SCHEMA.execute(
        "{ a: sandboxes(first: 1) { totalCount } b: sandboxes(first: 101) { nodes { id } } }",
        context_value=context,
    )

    assert result.errors is None
    assert result.data is not None
    lengths = [
        [len(node[name]["nodes"]) for name in "abc"] for node in result.data["sandboxes"]["nodes"]
    ]
    assert lengths == [[1, 2, 3]] * 2
    for each in (refused, paged):
        assert each.errors is not None
        assert {(error.extensions or {})["field"] for error in each.errors} == {"first"}


async def test_cursors_stand_while_rows_come_and_go(user: Counted, made: TestDatabase) -> None:
    """The row that a cursor was made of may be gone, and newer ones may have come."""
    query = """query ($a: String) { sandboxes(first: 10, after: $a) {
        edges { cursor node { name } } pageInfo { endCursor } } }"""
    data, _ = await user.ask(query)
    cursor = data["sandboxes"]["pageInfo"]["endCursor"]
    async with as_superuser(made) as connection:
        gone = "DELETE FROM sandbox_api.sandboxes WHERE owner_id = $1 AND name = ANY($2)"
        await connection.execute(gone, user.viewer.id, ["box 91", "box 90"])
    await make_records(made, user, 1, later="1000")
    rest, _ = await user.ask(query, a=cursor)
    shown = [edge["node"]["name"] for edge in rest["sandboxes"]["edges"]]

    assert data["sandboxes"]["edges"][-1]["node"]["name"] == "box 91"
    assert shown == [f"box {number}" for number in range(89, 79, -1)]
    assert "box" not in cursor
    assert not _is_uuid(cursor)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


async def test_another_user_sees_nothing_of_it(user: Counted, made: TestDatabase) -> None:
    """A page of many sandboxes' executions is shown to their owner alone."""
    data, _ = await user.ask("{ sandboxes(first: 100) { nodes { id } } }")
    ids = [UUID(node["id"]) for node in data["sandboxes"]["nodes"]]
    async with counted(made) as other:
        pages = other.services.pages
        counts = await pages.counts(other.viewer, ids)  # type: ignore[arg-type] # ids are SandboxIds
        mine = await pages.counts(user.viewer, ids)  # type: ignore[arg-type] # as above

    assert set(counts) == {0}
    assert set(mine) == {EXECUTIONS}
