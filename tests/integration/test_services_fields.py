"""What fields below a list of sandboxes cost: statements, and questions to sessions."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ops.layout import REPOSITORY
from services import packages, sandboxes
from services.executor.errors import ClusterUnavailableError
from services.executor.messages import SessionState, SessionStats
from services.session_turns import AT_ONCE
from tests.support.postgres import Servers, TestDatabase
from tests.support.statements import Counted, as_superuser, counted, make_records

SANDBOXES = 100
EXECUTIONS = 5
PAGE = "query ($n: Int!) { sandboxes(first: $n) { nodes { id %s } } }"
ITSELF = 2
"""Statements of a page with nothing else, where any of it is RUNNING."""
TABLE = re.findall(
    r"^\| `(.+)` \| (\d+) \| (\d+) \|$",
    (REPOSITORY / "docs" / "decisions" / "data-fetching.md").read_text(),
    re.MULTILINE,
)
HANGS, FAILS = 3, 5


@pytest.fixture(scope="module")
async def made(servers: Servers) -> AsyncIterator[TestDatabase]:
    """A database of these tests' own."""
    async with servers("embedded").database() as database:
        yield database


@asynccontextmanager
async def running(made: TestDatabase, sandboxes: int) -> AsyncIterator[Counted]:
    """Have a user with so many RUNNING sandboxes, each with a file."""
    async with counted(made) as user:
        await make_records(made, user, sandboxes, EXECUTIONS, status="RUNNING")
        for session in user.executor.sessions.values():
            session.files["x"] = b"x"
        yield user


@pytest.fixture(scope="module")
async def user(made: TestDatabase) -> AsyncIterator[Counted]:
    """A user with a hundred RUNNING sandboxes; tests change nothing of theirs."""
    async with running(made, SANDBOXES) as found:
        yield found


def test_the_table_is_read() -> None:
    """Every field of a sandbox that fetches anything has a row of it."""
    shown = " ".join(field for field, *_ in TABLE)

    assert len(TABLE) >= 17
    for name in ("executions", "packages", "stats", "files", "file", "limits", "totalCount"):
        assert re.search(rf"\b{name}\b", shown), name


@pytest.mark.parametrize(("field", "statements", "calls"), TABLE, ids=[row[0] for row in TABLE])
async def test_what_a_field_costs(user: Counted, field: str, statements: str, calls: str) -> None:
    """As many statements for a hundred sandboxes as for one, and as documented."""
    _, one = await user.ask(PAGE % field, n=1)
    assert user.calls * SANDBOXES == int(calls)
    data, many = await user.ask(PAGE % field, n=SANDBOXES)

    assert len(data["sandboxes"]["nodes"]) == SANDBOXES
    assert len(many) == len(one) == ITSELF + int(statements)
    assert user.transactions <= len(many)
    assert user.calls == int(calls)


async def test_packages_of_many_are_each_ones_own(made: TestDatabase) -> None:
    """From the record of those that do not run, each by name; another user sees none of them."""
    async with counted(made) as owner:
        await make_records(made, owner, SANDBOXES)
        data, statements = await owner.ask(PAGE % "packages { name version }", n=SANDBOXES)

    nodes = data["sandboxes"]["nodes"]
    assert len(nodes) == SANDBOXES
    assert len(statements) == 2
    for node in nodes:
        assert node["packages"] == [{"name": name, "version": node["id"]} for name in "ab"]


class Counter:
    """Lets calls of sessions go on once as many are there as may be, and counts them."""

    def __init__(self) -> None:
        self._full = asyncio.Barrier(AT_ONCE)
        self._inside = 0
        self.most = 0

    async def wait(self) -> None:
        """Be one of those at once."""
        self._inside += 1
        self.most = max(self.most, self._inside)
        await self._full.wait()
        self._inside -= 1


@pytest.mark.parametrize(
    "fields",
    [
        "stats { processes }",
        "packages { name }",
        "files { name }",
        'file(path: "x") { path }',
        'stats { processes } files { name } file(path: "x") { path } packages { name }',
    ],
)
async def test_eight_sessions_are_asked_at_once(
    made: TestDatabase, monkeypatch: pytest.MonkeyPatch, fields: str
) -> None:
    """No more and no fewer, whichever fields of one operation ask."""
    counter = Counter()
    async with running(made, 3 * AT_ONCE) as user, asyncio.timeout(20):
        enter = user.executor._enter

        async def counted_enter(method: str) -> None:
            await counter.wait()
            await enter(method)

        monkeypatch.setattr(user.executor, "_enter", counted_enter)
        await user.ask(PAGE % fields, n=SANDBOXES)

    assert counter.most == AT_ONCE
    assert user.calls % (3 * AT_ONCE) == 0


async def asked_with_faults(
    user: Counted, monkeypatch: pytest.MonkeyPatch, field: str, method: str
) -> tuple[list[Any], list[str], int]:
    """Ask while one session hangs and one fails; return nodes, errors' paths, and statements."""
    names = list(user.executor.sessions)
    real = getattr(user.executor, method)

    async def faulty(session_id: str) -> SessionStats | SessionState:
        if session_id == names[HANGS]:
            await asyncio.Event().wait()
        if session_id == names[FAILS]:
            raise ClusterUnavailableError("Ray is away.")
        answer: SessionStats | SessionState = await real(session_id)
        return answer

    monkeypatch.setattr(user.executor, method, faulty)
    result = await user.run(PAGE % field, n=SANDBOXES)
    assert result.data is not None
    codes = {(error.extensions or {})["code"] for error in result.errors or ()}
    assert codes <= {"SERVICE_UNAVAILABLE"}
    nodes = result.data["sandboxes"]["nodes"]
    faults = [nodes[int((error.path or [])[2])]["id"] for error in result.errors or ()]
    return nodes, faults, len(user.statements) - user.transactions


async def test_one_that_hangs_and_one_that_fails_have_no_statistics(
    made: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs are null with an error each; all others have theirs."""
    monkeypatch.setattr(sandboxes, "STATS_SECONDS", 0.2)
    async with running(made, 3 * AT_ONCE) as user:
        names = list(user.executor.sessions)
        nodes, faults, statements = await asked_with_faults(
            user, monkeypatch, "stats { sessionId }", "stats"
        )

    bad = {names[each].removeprefix("session-") for each in (HANGS, FAILS)}
    assert set(faults) == bad
    assert {node["id"] for node in nodes if node["stats"] is None} == bad
    for node in nodes:
        if node["stats"] is not None:
            assert node["stats"]["sessionId"] == f"session-{node['id']}"
    assert statements == ITSELF


async def test_the_record_shows_the_packages_of_those_that_do_not_answer(
    made: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those alone, and still in one statement."""
    monkeypatch.setattr(packages, "LIVE_SECONDS", 0.2)
    async with running(made, 3 * AT_ONCE) as user:
        names = list(user.executor.sessions)
        nodes, faults, statements = await asked_with_faults(
            user, monkeypatch, "packages { name }", "state"
        )

    recorded = {names[each].removeprefix("session-") for each in (HANGS, FAILS)}
    assert faults == []
    assert {node["id"] for node in nodes if node["packages"]} == recorded
    assert statements == ITSELF + 1


async def test_cursors_of_executions_stand_while_rows_come_and_go(
    made: TestDatabase,
) -> None:
    """The row that a cursor was made of may be purged, and newer ones may have come."""
    query = PAGE % "executions(first: 2, after: %s) { nodes { code } pageInfo { endCursor } }"
    async with counted(made) as user:
        await make_records(made, user, 1, EXECUTIONS)
        data, _ = await user.ask(query % "null", n=1)
        [node] = data["sandboxes"]["nodes"]
        first = node["executions"]
        async with as_superuser(made) as connection:
            gone = "DELETE FROM sandbox_api.executions WHERE sandbox_id = $1 AND code = ANY($2)"
            await connection.execute(gone, node["id"], [b"4", b"3"])
            newer = """INSERT INTO sandbox_api.executions
                (id, sandbox_id, owner_id, kind, code, status, created_at) SELECT
                gen_random_uuid(), $1, $2, 'CODE', 'new', 'LOST', now() + interval '1 hour'"""
            await connection.execute(newer, node["id"], user.viewer.id)
        cursor = first["pageInfo"]["endCursor"]
        data, _ = await user.ask(query % f'"{cursor}"', n=1)

    [node] = data["sandboxes"]["nodes"]
    assert [each["code"] for each in first["nodes"]] == ["5", "4"]
    assert [each["code"] for each in node["executions"]["nodes"]] == ["2", "1"]
