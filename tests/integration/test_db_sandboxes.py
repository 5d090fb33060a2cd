"""What the services rely on when they ask the repositories for sandboxes, packages and leases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from db.engine import Database
from db.repositories.leases import LeaseRepository
from db.repositories.packages import PackageRepository
from db.repositories.running import RunningRepository
from db.repositories.sandboxes import SandboxConditions, SandboxRepository
from db.repositories.slices import Position
from db.tables import SandboxRow
from tests.support.postgres import SERVERS, Servers
from tests.support.records import (
    a_sandbox,
    begin_execution,
    claims_of,
    get_execution,
    insert_sandbox,
    run_sandbox,
    soon,
)


@pytest.fixture(scope="module", params=SERVERS)
async def database(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Database]:
    """Both servers, one after the other, migrated."""
    async with servers(request.param).database() as made, Database(made.url) as opened:
        yield opened


async def test_a_new_sandbox(database: Database) -> None:
    """A sandbox comes back as it was given, with the database's times."""
    user = uuid4()
    row = await insert_sandbox(
        database,
        user,
        name="A 'name'",
        labels={"k": "v"},
        environment_names=["A", "B"],
        environment_encrypted=b"\x00sealed",
    )

    assert (row.owner_id, row.name, row.status) == (user, "A 'name'", "STOPPED")
    assert (row.labels, row.environment_names) == ({"k": "v"}, ["A", "B"])
    assert row.created_at == row.updated_at
    assert row.created_at.tzinfo is not None
    async with database.service_session() as session:
        assert await RunningRepository(session).environment(row.id) == b"\x00sealed"


async def test_idempotency_key(database: Database) -> None:
    """A second sandbox with one user's key is not made; another user's key is another key."""
    user = uuid4()
    first = await insert_sandbox(database, user, idempotency_key="key")
    await insert_sandbox(database, uuid4(), idempotency_key="key")
    async with database.tenant_session(claims_of(user)) as session:
        sandboxes = SandboxRepository(session)

        assert await sandboxes.insert(a_sandbox(user, idempotency_key="key")) is None
        found = await sandboxes.get_by_idempotency_key("key")

    assert found is not None
    assert found.id == first.id


async def test_pages(database: Database) -> None:
    """Pages go from the newest to the oldest, each sandbox once, with ties in time."""
    user = uuid4()
    async with database.tenant_session(claims_of(user)) as session:
        sandboxes = SandboxRepository(session)
        # In one transaction all have the same time.
        made = {(await _insert(sandboxes, user)).id for _ in range(5)}
    made |= {(await insert_sandbox(database, user)).id for _ in range(2)}
    seen: list[SandboxRow] = []
    after: Position | None = None
    async with database.tenant_session(claims_of(user)) as session:
        sandboxes = SandboxRepository(session)
        while True:
            page = await sandboxes.page(SandboxConditions(), 3, after)
            seen.extend(page.rows)
            if not page.has_more:
                break
            after = (page.rows[-1].created_at, page.rows[-1].id)

    assert {row.id for row in seen} == made
    assert len(seen) == 7
    keys = [(row.created_at, row.id) for row in seen]
    assert keys == sorted(keys, reverse=True)


async def _insert(sandboxes: SandboxRepository, user: UUID) -> SandboxRow:
    row = await sandboxes.insert(a_sandbox(user))
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (SandboxConditions(), {"Alpha", "b%ta", None}),
        (SandboxConditions(statuses=["STOPPED"]), {"Alpha", "b%ta", None}),
        (SandboxConditions(statuses=["RUNNING", "FAILED"]), set()),
        (SandboxConditions(statuses=[]), set()),
        (SandboxConditions(name_contains="ALPH"), {"Alpha"}),
        (SandboxConditions(name_contains="%"), {"b%ta"}),
        (SandboxConditions(name_contains="_"), set()),
        (SandboxConditions(labels={"team": "x"}), {"Alpha", "b%ta"}),
        (SandboxConditions(labels={"team": "x", "env": "dev"}), {"Alpha"}),
        (SandboxConditions(labels={"team": "y"}), set()),
    ],
)
async def test_filters(
    database: Database, conditions: SandboxConditions, names: set[str | None]
) -> None:
    """A filter lists what has all that it says, and its count agrees."""
    user = uuid4()
    await insert_sandbox(database, user, name="Alpha", labels={"team": "x", "env": "dev"})
    await insert_sandbox(database, user, name="b%ta", labels={"team": "x"})
    await insert_sandbox(database, user)
    async with database.tenant_session(claims_of(user)) as session:
        sandboxes = SandboxRepository(session)
        page = await sandboxes.page(conditions, 10)

        assert {row.name for row in page.rows} == names
        assert await sandboxes.count(conditions) == len(names)


async def test_others_sandboxes(database: Database) -> None:
    """Another user's id answers as one that there is not, whatever is asked."""
    theirs = await run_sandbox(database, uuid4())
    user = uuid4()
    async with database.tenant_session(claims_of(user)) as session:
        sandboxes = SandboxRepository(session)

        assert await sandboxes.get(theirs.id) is None
        assert await sandboxes.get_many([theirs.id, uuid4()]) == []
        assert await sandboxes.update_fields(theirs.id, name="mine") is None
        assert await sandboxes.usage() == (usage := await sandboxes.usage())
        assert (usage.sandboxes, usage.running, usage.unended_executions) == (0, 0, 0)
        begun = await sandboxes.begin_operation(
            theirs.id,
            from_statuses=["RUNNING"],
            to_status="STOPPING",
            operation_id=uuid4(),
            deadline=soon(),
        )
        assert begun is None
    assert await begin_execution(database, user, theirs.id) is None


async def test_update_fields(database: Database) -> None:
    """What is given changes, what is left out stays, and the time of change is noted."""
    user = uuid4()
    row = await insert_sandbox(database, user, name="old", labels={"a": "b"})
    async with database.tenant_session(claims_of(user)) as session:
        changed = await SandboxRepository(session).update_fields(
            row.id, name=None, idle_timeout_seconds=5.5
        )

    assert changed is not None
    assert (changed.name, changed.labels, changed.idle_timeout_seconds) == (None, {"a": "b"}, 5.5)
    assert changed.updated_at > row.updated_at


async def test_one_of_many_begins(database: Database) -> None:
    """Of ten starts at once, one takes the operation."""
    user = uuid4()
    row = await insert_sandbox(database, user)

    async def begin() -> SandboxRow | None:
        async with database.tenant_session(claims_of(user)) as session:
            return await SandboxRepository(session).begin_operation(
                row.id,
                from_statuses=["STOPPED", "FAILED"],
                to_status="STARTING",
                operation_id=uuid4(),
                deadline=soon(),
            )

    begun = [each for each in await asyncio.gather(*(begin() for _ in range(10))) if each]

    assert len(begun) == 1
    assert begun[0].status == "STARTING"


async def test_take_over(database: Database) -> None:
    """An operation is taken over when told to or after its deadline, and its holder learns so."""
    user, first, second, third = uuid4(), uuid4(), uuid4(), uuid4()
    row = await insert_sandbox(database, user)
    async with database.service_session() as session:
        running = RunningRepository(session)

        async def begin(operation: UUID, *, take_over: bool = False) -> SandboxRow | None:
            return await running.begin_operation(
                row.id,
                from_statuses=["STOPPED", "STARTING"],
                to_status="STARTING",
                operation_id=operation,
                deadline=soon(),
                take_over=take_over,
            )

        assert await begin(first) is not None
        assert await begin(second) is None
        assert await begin(second, take_over=True) is not None
        assert await running.finish_operation(row.id, first, "RUNNING") is None
        assert not await running.delete(row.id, first)
        await running.expire_operation(row.id, second)
    async with database.service_session() as session:
        running = RunningRepository(session)
        assert await begin(third) is not None
        finished = await running.finish_operation(row.id, third, "FAILED", status_reason="why")

    assert finished is not None
    assert (finished.status, finished.status_reason) == ("FAILED", "why")
    assert (finished.operation_id, finished.operation_deadline) == (None, None)


async def test_delete_takes_all_along(database: Database) -> None:
    """With a sandbox go its executions and packages."""
    user, operation = uuid4(), uuid4()
    row = await run_sandbox(database, user)
    begun = await begin_execution(database, user, row.id)
    assert begun is not None
    assert begun.execution_id is not None
    async with database.service_session() as session:
        running = RunningRepository(session)
        await running.replace_packages(row.id, user, [("a", "1")])
    async with database.tenant_session(claims_of(user)) as session:
        sandboxes = SandboxRepository(session)
        await sandboxes.begin_operation(
            row.id,
            from_statuses=["RUNNING"],
            to_status="STOPPING",
            operation_id=operation,
            deadline=soon(),
            deleting=True,
        )
        assert await sandboxes.delete(row.id, operation)

    assert await get_execution(database, user, begun.execution_id) is None
    async with database.tenant_session(claims_of(user)) as session:
        assert await PackageRepository(session).lists([row.id]) == {row.id: []}


async def test_packages(database: Database) -> None:
    """A sandbox's packages are replaced as a whole, and listed by name for its owner alone."""
    user = uuid4()
    row, theirs = await insert_sandbox(database, user), await insert_sandbox(database, uuid4())
    async with database.service_session() as session:
        running = RunningRepository(session)
        await running.replace_packages(theirs.id, theirs.owner_id, [("secret", "1")])
    for packages in ([("b", "1"), ("a", "2")], [("c", "3"), ("b", "1.1")], []):
        async with database.service_session() as session:
            await RunningRepository(session).replace_packages(row.id, user, packages)
        async with database.tenant_session(claims_of(user)) as session:
            found = await PackageRepository(session).lists([row.id, theirs.id])

        assert found == {row.id: sorted(packages), theirs.id: []}


async def test_alive(database: Database) -> None:
    """Background work finds every user's sandboxes that run, and by their sessions."""
    rows = [await run_sandbox(database, uuid4()), await run_sandbox(database, uuid4())]
    stopped = await insert_sandbox(database, uuid4())
    async with database.service_session() as session:
        running = RunningRepository(session)
        alive = {row.id for row in await running.alive()}
        sessions = [row.session_id for row in rows if row.session_id]

        assert {row.id for row in rows} <= alive
        assert stopped.id not in alive
        assert set(sessions) <= await running.session_ids()
        assert {row.id for row in await running.by_session(sessions)} == {row.id for row in rows}


async def test_touch(database: Database) -> None:
    """The time of the last activity goes forward only."""
    user, now = uuid4(), datetime.now(UTC)
    row = await run_sandbox(database, user)
    async with database.service_session() as session:
        running = RunningRepository(session)
        await running.touch({row.id: now})
        await running.touch({row.id: now - timedelta(seconds=5)})
    async with database.tenant_session(claims_of(user)) as session:
        touched = await SandboxRepository(session).get(row.id)

    assert touched is not None
    assert touched.last_active_at == now


async def test_leases(database: Database) -> None:
    """A lease has one holder at a time, who may renew it, until it expires or is given back."""
    name = str(uuid4())

    async def acquire(holder: str, seconds: float = 60) -> bool:
        async with database.service_session() as session:
            return await LeaseRepository(session).acquire(name, holder, seconds)

    assert sum(await asyncio.gather(*(acquire(str(each)) for each in range(8)))) == 1
    async with database.service_session() as session:
        for each in range(8):
            await LeaseRepository(session).release(name, str(each))
    assert await acquire("a")
    assert await acquire("a", 0)
    assert await acquire("b")
    assert not await acquire("a")
