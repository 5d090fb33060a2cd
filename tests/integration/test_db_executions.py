"""What the services rely on when they ask the repositories for executions."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import InvalidRequestError

from db.engine import Database
from db.repositories.executions import ExecutionRepository, PageSize
from db.repositories.running import ExecutionEnd, RunningRepository
from db.repositories.sandboxes import SandboxRepository
from tests.support.pages import count_of, rows_of, size_of
from tests.support.postgres import SERVERS, Servers
from tests.support.records import begin_execution, claims_of, get_execution, run_sandbox, soon

NASTY = "NUL \x00, half \\ud800, ''' and \\' and \U0001f600\r\n".encode()


@pytest.fixture(scope="module", params=SERVERS)
async def database(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Database]:
    """Both servers, one after the other, migrated."""
    async with servers(request.param).database() as made, Database(made.url) as opened:
        yield opened


def an_end(execution_id: UUID, status: str = "SUCCEEDED", output: bytes = b"") -> ExecutionEnd:
    """Return how an execution ended."""
    now = datetime.now(UTC)
    return ExecutionEnd(
        id=execution_id,
        status=status,
        exit_code=0,
        stdout=output,
        stderr=output,
        output_truncated=True,
        results=b"[" + output + b"]",
        error=output,
        execution_count=3,
        started_at=now - timedelta(seconds=1),
        finished_at=now,
        duration_ms=1000.5,
        last_seq=7,
        interpreter_restarted=True,
    )


async def test_begin_execution(database: Database) -> None:
    """An execution begins as QUEUED, with what the caller needs to send it."""
    user = uuid4()
    row = await run_sandbox(database, user)
    begun = await begin_execution(database, user, row.id, code=NASTY, client_id="c")

    assert begun is not None
    assert begun.added
    assert begun.execution_id is not None
    assert (begun.status, begun.deleting, begun.unended) == ("RUNNING", False, 0)
    assert (begun.session_id, begun.node_id) == (row.session_id, row.node_id)
    kept = await get_execution(database, user, begun.execution_id)
    assert kept is not None
    assert (kept.code, kept.status, kept.session_id) == (NASTY, "QUEUED", row.session_id)
    async with database.tenant_session(claims_of(user)) as session:
        executions = ExecutionRepository(session)
        assert await executions.busy_sandboxes([row.id, uuid4()]) == {row.id}
        assert await executions.by_client_id(row.id, "c") is not None


async def test_begin_with_a_known_client_id(database: Database) -> None:
    """A client's id names one execution, even at once and after the sandbox has stopped."""
    user, operation = uuid4(), uuid4()
    row = await run_sandbox(database, user)
    begun = await asyncio.gather(
        *(begin_execution(database, user, row.id, client_id="same") for _ in range(8))
    )
    ids = {each.execution_id for each in begun if each}
    assert len(ids) == 1
    assert sum(each.added for each in begun if each) == 1
    async with database.tenant_session(claims_of(user)) as session:
        await SandboxRepository(session).begin_operation(
            row.id,
            from_statuses=["RUNNING"],
            to_status="STOPPING",
            operation_id=operation,
            deadline=soon(),
        )

    again = await begin_execution(database, user, row.id, client_id="same")
    other = await begin_execution(database, user, row.id, client_id="other")

    assert again is not None
    assert ({again.execution_id}, again.added, again.status) == (ids, False, "STOPPING")
    assert other is not None
    assert (other.execution_id, other.added) == (None, False)


async def test_begin_the_same_again(database: Database) -> None:
    """The same execution again is known by its id, whatever its sandbox or the limits say now."""
    user, name = uuid4(), uuid4()
    row = await run_sandbox(database, user)
    first = await begin_execution(database, user, row.id, execution_id=name, client_id="c")
    again = [
        await begin_execution(database, user, row.id, execution_id=name, client_id="c"),
        await begin_execution(database, user, row.id, execution_id=name),
        await begin_execution(database, user, row.id, execution_id=name, max_unended=1),
        await begin_execution(database, user, row.id, execution_id=name, max_recent=0),
    ]
    async with database.tenant_session(claims_of(user)) as session:
        await SandboxRepository(session).begin_operation(
            row.id,
            from_statuses=["RUNNING"],
            to_status="STOPPING",
            operation_id=uuid4(),
            deadline=soon(),
        )
        assert await count_of(session, row.id) == 1
    again.append(await begin_execution(database, user, row.id, execution_id=name))

    assert first is not None
    assert (first.execution_id, first.added) == (name, True)
    assert [(each.execution_id, each.added) for each in again if each] == [(name, False)] * 5


async def test_begin_the_same_at_once(database: Database) -> None:
    """Of one execution sent eight times at once, one is added, and all are told its id."""
    user, name = uuid4(), uuid4()
    row = await run_sandbox(database, user)
    begun = await asyncio.gather(
        *(begin_execution(database, user, row.id, execution_id=name) for _ in range(8))
    )

    assert [each.execution_id for each in begun if each] == [name] * 8
    assert sum(each.added for each in begun if each) == 1


async def test_begin_in_another_tenants_sandbox(database: Database) -> None:
    """A sandbox of somebody else's is as good as none: nothing is told or added."""
    owner, user, name = uuid4(), uuid4(), uuid4()
    row = await run_sandbox(database, owner)
    await begin_execution(database, owner, row.id, execution_id=name, client_id="theirs")

    assert await begin_execution(database, user, row.id) is None
    assert await begin_execution(database, user, row.id, execution_id=name) is None
    assert await begin_execution(database, user, row.id, client_id="theirs") is None
    assert await begin_execution(database, user, uuid4()) is None
    async with database.tenant_session(claims_of(owner)) as session:
        assert await count_of(session, row.id) == 1


async def test_begin_up_to_the_rate(database: Database) -> None:
    """As many of a kind begin in a minute as are allowed, all the user's sandboxes together."""
    user = uuid4()
    rows = [await run_sandbox(database, user), await run_sandbox(database, user)]
    await begin_execution(database, user, rows[0].id)
    await begin_execution(database, uuid4(), rows[0].id, kind="INSTALL")
    begun = [
        await begin_execution(database, user, rows[i % 2].id, kind="INSTALL", max_recent=2)
        for i in range(3)
    ]
    code = await begin_execution(database, user, rows[0].id)

    assert [(each.added, each.recent) for each in begun if each] == [
        (True, 0),
        (True, 1),
        (False, 2),
    ]
    assert begun[2] is not None
    assert begun[2].execution_id is None
    assert code is not None
    assert (code.added, code.recent) == (True, 0)


async def test_begin_up_to_the_limit(database: Database) -> None:
    """Of 30 executions at once over two sandboxes, as many begin as the limit allows."""
    user = uuid4()
    rows = [await run_sandbox(database, user), await run_sandbox(database, user)]
    begun = await asyncio.gather(
        *(begin_execution(database, user, rows[i % 2].id, max_unended=7) for i in range(30))
    )

    assert sum(each.added for each in begun if each) == 7
    assert max(each.unended for each in begun if each) == 7


async def test_output_survives(database: Database) -> None:
    """Whatever bytes an execution wrote come back as they were."""
    user = uuid4()
    row = await run_sandbox(database, user)
    begun = await begin_execution(database, user, row.id)
    assert begun is not None
    assert begun.execution_id is not None
    end = an_end(begun.execution_id, output=NASTY)
    async with database.service_session() as session:
        await RunningRepository(session).record_executions([end])
        await RunningRepository(session).record_executions([an_end(end.id, "FAILED")])

    kept = await get_execution(database, user, end.id)

    assert kept is not None
    assert {name: getattr(kept, name) for name in end.__dataclass_fields__} == {
        name: getattr(end, name) for name in end.__dataclass_fields__
    }


async def test_ends_that_two_write_at_once(database: Database) -> None:
    """Each in an order of its own: neither waits for what the other will wait for in turn."""
    user = uuid4()
    row = await run_sandbox(database, user)
    ends = []
    for _ in range(300):
        begun = await begin_execution(database, user, row.id, max_unended=1000)
        assert begun is not None
        assert begun.execution_id is not None
        ends.append(an_end(begun.execution_id))

    async def record(these: list[ExecutionEnd]) -> None:
        async with database.service_session() as session:
            await RunningRepository(session).record_executions(these)

    # What has ended may be written again, and takes the row's lock for it.
    for _ in range(5):
        await asyncio.gather(record(ends), record(ends[::-1]))
    kept = await get_execution(database, user, ends[-1].id)

    assert kept is not None
    assert kept.status == "SUCCEEDED"


async def test_losses(database: Database) -> None:
    """What has not ended is recorded as LOST; what has stays as it ended."""
    user, now = uuid4(), datetime.now(UTC)
    row = await run_sandbox(database, user)
    ids = []
    for _ in range(4):
        begun = await begin_execution(database, user, row.id)
        assert begun is not None
        assert begun.execution_id is not None
        ids.append(begun.execution_id)
    async with database.service_session() as session:
        running = RunningRepository(session)
        await running.record_executions([an_end(ids[0])])
        await running.discard_execution(ids[0])
        await running.discard_execution(ids[1])
        await running.lose_execution(ids[2], error=b"one", at=now)
        await running.lose_executions(row.id, error=b"all", at=now)
        assert not [each for each in await running.unended() if each.sandbox_id == row.id]

    kept = [await get_execution(database, user, each) for each in ids]

    assert [(each.status, each.error) if each else None for each in kept] == [
        ("SUCCEEDED", b""),
        None,
        ("LOST", b"one"),
        ("LOST", b"all"),
    ]


async def test_executions_page(database: Database) -> None:
    """A sandbox's executions are listed newest first, without the large columns if so asked."""
    user = uuid4()
    row = await run_sandbox(database, user)
    for number in range(4):
        await begin_execution(database, user, row.id, code=str(number).encode())
    async with database.tenant_session(claims_of(user)) as session:
        executions = ExecutionRepository(session)
        page = await rows_of(session, row.id, 3)
        rest = await rows_of(
            session, row.id, 3, (page.rows[-1].created_at, page.rows[-1].id), large=True
        )
        assert await count_of(session, row.id) == 4
        many = await executions.get_many([each.id for each in page.rows])
    async with database.tenant_session(claims_of(user)) as session:
        (small, *_) = (await rows_of(session, row.id, 3, large=False)).rows

        assert small.status == "QUEUED"
        with pytest.raises(InvalidRequestError):
            _ = small.stdout

    assert [each.code for each in [*page.rows, *rest.rows]] == [b"3", b"2", b"1", b"0"]
    assert (page.has_more, rest.has_more) == (True, False)
    assert {each.id for each in many} == {each.id for each in page.rows}


async def test_size_of_a_page(database: Database) -> None:
    """It is what the page's rows hold of code, output and results, and no other's."""
    user = uuid4()
    row = await run_sandbox(database, user)
    for number in range(3):
        begun = await begin_execution(database, user, row.id, code=b"code")
        assert begun is not None
        assert begun.execution_id is not None
        # Compressible, and long enough to be kept compressed and beside the row.
        end = an_end(begun.execution_id, output=b"x" * 100_000 * number)
        async with database.service_session() as session:
            await RunningRepository(session).record_executions([end])
    async with database.tenant_session(claims_of(user)) as session:
        [newest] = (await rows_of(session, row.id, 1, large=False)).rows
        after = (newest.created_at, newest.id)

        assert await size_of(session, row.id, 1) == PageSize(1, 600_006)
        assert await size_of(session, row.id, 2) == PageSize(2, 900_012)
        assert await size_of(session, row.id, 100) == PageSize(3, 900_018)
        assert await size_of(session, row.id, 100, after) == PageSize(2, 300_012)
        assert await size_of(session, uuid4(), 100) == PageSize(0, 0)


async def test_purge(database: Database) -> None:
    """Records older than they are kept go, a bounded number at a time."""
    user = uuid4()
    row = await run_sandbox(database, user)
    for _ in range(3):
        begun = await begin_execution(database, user, row.id)
        assert begun is not None
        assert begun.execution_id is not None
        async with database.service_session() as session:
            await RunningRepository(session).record_executions([an_end(begun.execution_id)])
    running_one = await begin_execution(database, user, row.id)
    assert running_one is not None
    async with database.service_session() as session:
        running = RunningRepository(session)
        assert await running.purge_executions(datetime.now(UTC) - timedelta(hours=1)) == 0
        assert await running.purge_executions(datetime.now(UTC), at_most=2) == 2
        await running.purge_executions(datetime.now(UTC))
    async with database.tenant_session(claims_of(user)) as session:
        assert await count_of(session, row.id) == 1
