"""Services over a real database and a scripted executor, as several tests need them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlmodel import col, update

from db.engine import Database
from db.repositories.running import RunningRepository
from db.tables import ExecutionRow, SandboxRow
from services.assembly import Assembled, assemble
from services.entities import (
    CodeToRun,
    ExecutionUpdate,
    NewSandbox,
    Sandbox,
    UserId,
    Viewer,
    ViewerLimits,
)
from services.executor.messages import Event
from services.settings import ServiceSettings, SessionSettings, TimeSettings
from tests.support.scripted_executor import ScriptedExecutor
from tests.support.scripted_sessions import HOLD, ScriptedSession

SECRET_KEY = bytes(range(32))
INSTANCE = "0123abcd"
QUOTAS = ViewerLimits(max_sandboxes=4, max_running_sandboxes=2, max_concurrent_executions=3)


@dataclass
class Room:
    """One API process, as far as its services go."""

    database: Database
    executor: ScriptedExecutor
    services: Assembled
    viewer: Viewer

    async def stopped(self, **values: object) -> Sandbox:
        """Return a new sandbox that does not run."""
        new = NewSandbox(**values)  # type: ignore[arg-type] # what the test is about
        return await self.services.sandboxes.create(self.viewer, new)

    async def running(self, **values: object) -> Sandbox:
        """Return a new sandbox that runs."""
        new = NewSandbox(start=True, **values)  # type: ignore[arg-type] # likewise
        return await self.services.sandboxes.create(self.viewer, new)

    async def row(self, sandbox: Sandbox) -> SandboxRow | None:
        """Return a sandbox's row, whoever may see it."""
        async with self.database.service_session() as session:
            return await RunningRepository(session).get(sandbox.id)

    async def age_operation(self, sandbox: Sandbox) -> None:
        """Have the operation at work outlive its deadline, as where its process died."""
        async with self.database.service_session() as session:
            running = RunningRepository(session)
            row = await running.get(sandbox.id)
            assert row is not None
            assert row.operation_id is not None
            await running.expire_operation(row.id, row.operation_id)

    def stream(self, sandbox: Sandbox, code: str, **values: object) -> "Updates":
        """Run code live."""
        wanted = CodeToRun(str(sandbox.id), code, **values)  # type: ignore[arg-type] # likewise
        return Updates(self.services.executions.stream(self.viewer, wanted))


class Updates:
    """What a reader got."""

    def __init__(self, source: AsyncIterator[ExecutionUpdate]) -> None:
        self.source = source

    async def all(self) -> list[ExecutionUpdate]:
        """Read to the end, which comes within seconds."""
        async with asyncio.timeout(20):
            return [update async for update in self.source]


def a_viewer() -> Viewer:
    """Return a user nobody has seen."""
    user = UserId(uuid4())
    return Viewer(
        id=user,
        email=None,
        role="authenticated",
        claims={"sub": str(user), "role": "authenticated", "aud": "authenticated"},
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


def settings(start_timeout_seconds: float = 10.0) -> ServiceSettings:
    """Return settings with small quotas."""
    return ServiceSettings(
        sessions=SessionSettings(
            instance=INSTANCE,
            node_data_dir="/nowhere",
            default_image="plain",
            start_timeout_seconds=start_timeout_seconds,
            stop_timeout_seconds=5.0,
        ),
        times=TimeSettings(),
        quotas=QUOTAS,
        installs_per_minute=3,
        public_url="https://api.example.com",
    )


@asynccontextmanager
async def room_in(
    database: Database, executor: ScriptedExecutor | None = None, direct_url: str | None = None
) -> AsyncIterator[Room]:
    """Open services of one process; two over one executor are two processes of an instance."""
    executor = executor or ScriptedExecutor()
    told = settings()
    async with assemble(database, executor, told, SECRET_KEY, direct_url=direct_url) as services:
        yield Room(database, executor, services, a_viewer())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds, ten seconds at most."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 # the condition is in a database
            await asyncio.sleep(0.01)


def session_of(room: Room) -> ScriptedSession:
    """Return the one session that there is."""
    [session] = room.executor.sessions.values()
    return session


def events(updates: list[ExecutionUpdate]) -> list[Event]:
    """Return what the updates tell."""
    return [update.event for update in updates]


async def a_held_execution(room: Room, sandbox: Sandbox, client: str | None = None) -> str:
    """Return the id of an execution that runs until it is ended."""
    stream = room.stream(sandbox, HOLD, client_execution_id=client).source
    update = await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined] # a generator
    return str(update.execution_id)


async def recorded(room: Room, update_: ExecutionUpdate) -> ExecutionRow | None:
    """Return the record of an execution, as the database has it."""
    async with room.database.service_session() as session:
        return await session.get(ExecutionRow, update_.execution_id)


async def comes_to(room: Room, sandbox: Sandbox, status: str | None) -> str | None:
    """Wait until a sandbox has this status (None: is gone), and return the reason."""
    reason = None

    async def holds() -> bool:
        nonlocal reason
        row = await room.row(sandbox)
        reason = None if row is None else row.status_reason
        return (None if row is None else row.status) == status

    await until(holds)
    return reason


async def make_older(room: Room, sandbox: Sandbox, seconds: float) -> None:
    """Have a sandbox been started, and used last, so long before."""
    span = timedelta(seconds=seconds)
    async with room.database.service_session() as session:
        await session.exec(
            update(SandboxRow)
            .where(col(SandboxRow.id) == sandbox.id)
            .values(
                started_at=col(SandboxRow.started_at) - span,
                last_active_at=col(SandboxRow.last_active_at) - span,
            )
        )
    session_of(room).last_active_at -= seconds
