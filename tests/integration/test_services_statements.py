"""How many statements an operation takes, counted where they leave for Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery
from sqlalchemy import event

from db.engine import Database
from resolvers.context import Context, Services
from schema.build import build_schema
from services.assembly import assemble
from services.entities import Viewer
from tests.support.postgres import Servers, TestDatabase
from tests.support.rooms import SECRET_KEY, a_viewer, settings
from tests.support.scripted_executor import ScriptedExecutor

SCHEMA = build_schema()
SANDBOXES = 100
EXECUTIONS = 7
BEGIN = "BEGIN"
MAKE = """
WITH made AS (
    INSERT INTO sandbox_api.sandboxes
        (id, owner_id, name, status, image, idle_timeout_seconds, lifetime_seconds, created_at)
    SELECT gen_random_uuid(), $1, 'box ' || n, 'STOPPED', 'plain', 60, 60,
        now() + n * interval '1 second'
    FROM generate_series(1, $2::int) AS n RETURNING id, owner_id
)
INSERT INTO sandbox_api.executions
    (id, sandbox_id, owner_id, session_id, kind, code, status, stdout, finished_at, created_at)
SELECT gen_random_uuid(), id, owner_id, 'gone', 'CODE', convert_to(m::text, 'UTF8'), 'SUCCEEDED',
    convert_to(id::text, 'UTF8'), now(), now() + m * interval '1 second'
FROM made, generate_series(1, $3::int) AS m
"""
PAGES = """query ($n: Int!) { sandboxes(first: $n) { nodes { id executions(first: 5) {
    %s nodes { %s } pageInfo { hasNextPage } } } } }"""


@dataclass
class Counted:
    """A user at services whose statements are counted."""

    services: Services
    viewer: Viewer
    statements: list[str] = field(default_factory=list)

    @property
    def transactions(self) -> int:
        """How many the last query took."""
        return self.statements.count(BEGIN)

    async def ask(self, query: str, **variables: object) -> tuple[Any, list[str]]:
        """Return what a query answers, and the statements that it took."""
        self.statements.clear()
        context = Context(self.services, "request", self.viewer)
        result = await SCHEMA.execute(query, variable_values=variables, context_value=context)
        assert result.errors is None
        return result.data, [each for each in self.statements if each != BEGIN]


@pytest.fixture(scope="module")
async def made(servers: Servers) -> AsyncIterator[TestDatabase]:
    """A database of these tests' own."""
    async with servers("embedded").database() as database:
        yield database


@asynccontextmanager
async def counted(made: TestDatabase) -> AsyncIterator[Counted]:
    """Open services over connections that tell what they send."""
    statements: list[str] = []

    def note(query: LoggedQuery) -> None:
        # SQLAlchemy prepares its statements itself, and asyncpg tells of the others.
        if query.query.startswith(BEGIN):
            statements.append(BEGIN)

    async with Database(made.url) as database:

        @event.listens_for(database._engine.sync_engine, "connect")
        def listen(connection: Any, _record: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapter
            connection.driver_connection.add_query_logger(note)

        @event.listens_for(database._engine.sync_engine, "before_cursor_execute")
        def execute(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement)

        async with assemble(database, ScriptedExecutor(), settings(), SECRET_KEY) as assembled:
            services = Services(
                sandboxes=assembled.sandboxes,
                executions=assembled.executions,
                pages=assembled.pages,
                packages=assembled.packages,
                files=assembled.files,
            )
            yield Counted(services, a_viewer(), statements)


@pytest.fixture
async def user(made: TestDatabase) -> AsyncIterator[Counted]:
    """A user with a hundred sandboxes that have run seven executions each."""
    async with counted(made) as found:
        connection = await asyncpg.connect(made.superuser_url)
        try:
            await connection.execute(MAKE, found.viewer.id, SANDBOXES, EXECUTIONS)
        finally:
            await connection.close()
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
    connection = await asyncpg.connect(made.superuser_url)
    try:
        gone = "DELETE FROM sandbox_api.sandboxes WHERE owner_id = $1 AND name = ANY($2)"
        await connection.execute(gone, user.viewer.id, ["box 91", "box 90"])
        await connection.execute(MAKE.replace("+ n *", "+ 1000 *"), user.viewer.id, 1, 0)
    finally:
        await connection.close()
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
