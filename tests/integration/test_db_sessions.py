"""Transactions begin with somebody's rights, and leave nothing of them behind."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import exc, select
from sqlmodel import col

from db.engine import Database
from db.errors import TransactionAbortedError, UnstorableValueError
from db.repositories.sandboxes import SandboxConditions, SandboxRepository
from db.tables import LeaseRow
from tests.support.pages import count_of
from tests.support.postgres import SERVERS, PostgresServer, Servers, TestDatabase
from tests.support.records import (
    BARE,
    a_sandbox,
    ask_bare,
    begin_execution,
    claims_of,
    insert_sandbox,
    run_sandbox,
)
from tests.support.sessions import until

WAITING = (
    "SELECT FROM pg_locks JOIN pg_database ON oid = database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
)
WHO = "SELECT current_user, auth.uid(), pg_backend_pid(), current_setting('request.jwt.claims')"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, servers: Servers) -> PostgresServer:
    """Both servers, one after the other."""
    return servers(request.param)


@pytest.fixture(scope="module")
async def made(server: PostgresServer) -> AsyncIterator[TestDatabase]:
    """A migrated database."""
    async with server.database() as database:
        yield database


@pytest.fixture
async def single(made: TestDatabase) -> AsyncIterator[Database]:
    """A pool of one connection, so that every transaction gets the same one."""
    async with Database(made.url, pool_size=1, checkout_timeout=5) as database:
        yield database


async def test_role_and_claims_end_with_the_transaction(single: Database) -> None:
    """Of two users on one pooled connection, none sees the other's role or claims."""
    first, second = uuid4(), uuid4()
    seen = []
    for user in (first, second):
        async with single.tenant_session(claims_of(user)) as session:
            seen.append(await session.fetch_row(WHO))
    async with single.service_session() as session:
        service = await session.fetch_row(WHO)

    assert [(row["current_user"], row["uid"]) for row in seen if row] == [
        ("authenticated", first),
        ("authenticated", second),
    ]
    assert service is not None
    assert (service["current_user"], service["uid"]) == ("service_role", None)
    assert len({row["pg_backend_pid"] for row in [*seen, service] if row}) == 1


async def test_role_and_claims_end_with_the_call(single: Database) -> None:
    """A function that takes a user's rights on leaves none, nor its lock, on the connection."""
    user = uuid4()
    row = await run_sandbox(single, user)
    before = await ask_bare(single, BARE)
    begun = await begin_execution(single, user, row.id)
    after = await ask_bare(single, BARE)

    assert begun is not None
    assert begun.added
    assert after == before
    assert (after["own"], after["claims"], after["locks"]) == (True, "", 0)


async def test_a_call_that_fails(single: Database) -> None:
    """What a failed call did is undone, and nobody meets its role or claims afterwards."""
    user, other, theirs = uuid4(), uuid4(), uuid4()
    row, their_row = await run_sandbox(single, user), await run_sandbox(single, other)
    await begin_execution(single, other, their_row.id, execution_id=theirs)
    with pytest.raises(asyncpg.UniqueViolationError):
        await begin_execution(single, user, row.id, execution_id=theirs)
    after = await ask_bare(single, BARE)

    assert (after["own"], after["claims"], after["locks"]) == (True, "", 0)
    async with single.tenant_session(claims_of(user)) as session:
        assert (await SandboxRepository(session).usage()).unended_executions == 0


async def test_error_rolls_back(single: Database) -> None:
    """Nothing of a transaction that ended by an error is kept."""
    user = uuid4()

    async def work() -> None:
        async with single.tenant_session(claims_of(user)) as session:
            await SandboxRepository(session).insert(a_sandbox(user))
            raise LookupError

    with pytest.raises(LookupError):
        await work()

    async with single.tenant_session(claims_of(user)) as session:
        assert await SandboxRepository(session).count(SandboxConditions()) == 0


async def test_going_on_after_a_failed_statement(single: Database) -> None:
    """A caller that swallows a statement's error learns at the end that nothing was kept."""
    user = uuid4()

    async def work() -> None:
        async with single.tenant_session(claims_of(user)) as session:
            await SandboxRepository(session).insert(a_sandbox(user))
            with pytest.raises(exc.ProgrammingError):
                await session.scalar(select(col(LeaseRow.name)))

    with pytest.raises(TransactionAbortedError):
        await work()

    await single.ping()


async def test_cancelled_in_a_statement(single: Database) -> None:
    """A task that is cancelled in a statement leaves a pool that works and no open transaction."""
    user = uuid4()
    entered = asyncio.Event()

    async def work() -> None:
        async with single.tenant_session(claims_of(user), serialized=True) as session:
            await SandboxRepository(session).insert(a_sandbox(user))
            entered.set()
            await session.fetch_row("SELECT pg_sleep(60)")

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with asyncio.timeout(5):
        # The lock is free again, so that the server has given the transaction up, too.
        async with single.tenant_session(claims_of(user), serialized=True) as session:
            assert await SandboxRepository(session).count(SandboxConditions()) == 0


async def test_cancelled_in_a_call(made: TestDatabase) -> None:
    """A call that is cancelled leaves a pool that works; the server carries it out, or nothing."""
    user = uuid4()
    async with Database(made.url, pool_size=2) as database:
        row = await run_sandbox(database, user)
        async with database.tenant_session(claims_of(user), serialized=True) as session:

            async def waiting() -> bool:
                return await session.fetch_row(WAITING) is not None

            task = asyncio.create_task(begin_execution(database, user, row.id))
            await until(waiting)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        async with asyncio.timeout(5):
            begun = await begin_execution(database, user, row.id)
        async with database.tenant_session(claims_of(user)) as session:
            number = await count_of(session, row.id)
        bare = await ask_bare(database, BARE)

    assert begun is not None
    assert begun.added
    # Whoever waits for the lock gets it in turn: a call cut off before ours is done by then.
    assert number == begun.unended + 1
    assert number in (1, 2)
    assert (bare["own"], bare["claims"], bare["locks"]) == (True, "", 0)


async def test_cancelled_between_statements(single: Database) -> None:
    """A task that is cancelled while it holds an idle transaction loses all of it."""
    user = uuid4()
    entered = asyncio.Event()

    async def work() -> None:
        async with single.tenant_session(claims_of(user)) as session:
            await SandboxRepository(session).insert(a_sandbox(user))
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with single.tenant_session(claims_of(user)) as session:
        row = await session.fetch_row(WHO)
        assert row is not None
        assert row["uid"] == user
        assert await SandboxRepository(session).count(SandboxConditions()) == 0


async def test_cancelled_at_any_moment(made: TestDatabase) -> None:
    """Wherever the cancellation hits, the next user's transaction is clean."""
    async with Database(made.url, pool_size=2) as database:

        async def work(user: UUID) -> None:
            async with database.tenant_session(claims_of(user), serialized=True) as session:
                await SandboxRepository(session).insert(a_sandbox(user))
                await SandboxRepository(session).usage()

        delay, completed = 0.0, 0
        while completed < 3:
            task = asyncio.create_task(work(uuid4()))
            await asyncio.wait({task}, timeout=delay)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
            completed += outcome is None
            delay += 0.000_05

            user = uuid4()
            async with database.tenant_session(claims_of(user)) as session:
                row = await session.fetch_row(WHO)
                assert row is not None
                assert (row["current_user"], row["uid"]) == ("authenticated", user)
                assert await SandboxRepository(session).count(SandboxConditions()) == 0


async def test_serialized_sessions_of_one_user_wait(made: TestDatabase) -> None:
    """Of 30 requests at once that look before they add, the limit of 5 lets 5 pass."""
    user = uuid4()
    async with Database(made.url) as database:

        async def add() -> None:
            async with database.tenant_session(claims_of(user), serialized=True) as session:
                sandboxes = SandboxRepository(session)
                if (await sandboxes.usage()).sandboxes < 5:
                    await sandboxes.insert(a_sandbox(user))

        await asyncio.gather(*(add() for _ in range(30)))
        async with database.tenant_session(claims_of(user)) as session:
            assert (await SandboxRepository(session).usage()).sandboxes == 5


@pytest.mark.parametrize(
    "claims",
    [
        {"user_metadata": {"name": "x'); DROP TABLE sandbox_api.sandboxes; --"}},
        {"user_metadata": {"name": "\\'; RESET ROLE; --"}},
        {"user_metadata": {"name": "\x00\\u0000\ud800 \U0001f600 $$ E'"}},
    ],
)
async def test_claims_are_data(single: Database, claims: dict[str, object]) -> None:
    """Whatever stands in the claims, they are nothing but claims."""
    user = uuid4()
    async with single.tenant_session({**claims, **claims_of(user)}) as session:
        row = await session.fetch_row("SELECT current_user, auth.uid()")

    assert row is not None
    assert (row["current_user"], row["uid"]) == ("authenticated", user)


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"])
async def test_unstorable_text(single: Database, name: str) -> None:
    """A text that Postgres has no room for is named so, in a column and in JSON."""
    user = uuid4()
    with pytest.raises(UnstorableValueError):
        await insert_sandbox(single, user, name=name)
    with pytest.raises(UnstorableValueError):
        await insert_sandbox(single, user, labels={"key": name})


async def test_errors_show_no_values(single: Database) -> None:
    """An error's text has none of the values that went into the statement."""
    user = uuid4()
    with pytest.raises(exc.IntegrityError) as failed:
        await insert_sandbox(single, user, status="NONSENSE", environment_encrypted=b"s3cr3t")

    assert "s3cr3t" not in str(failed.value)
    assert b"s3cr3t".hex() not in str(failed.value)
