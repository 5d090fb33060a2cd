"""Services that answer from memory, for tests of the layers above them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID, uuid4

from app.backend import Backend
from app.rates import open_rates
from app.settings import Settings
from app.token import make_token
from db.repositories.executions import PageSize
from resolvers.context import Services
from services import entities
from services.auth import TokenVerifier
from services.errors import NotFoundError
from services.execution_pages import ExecutionPages
from services.executions import ExecutionService
from services.executor import messages
from services.files import FileService
from services.packages import PackageService
from services.read_budget import ReadBudget
from services.sandboxes import SandboxService

SECRET = "a secret of the tests, long enough for HS256"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)


def sandbox(**changes: object) -> entities.Sandbox:
    """Make a running sandbox."""
    limits = entities.SandboxLimits(2**29, 1.0, 128, 2**40, 300.0, 3600.0, 86_400.0)
    made = entities.Sandbox(
        id=entities.SandboxId(uuid4()),
        owner_id=entities.UserId(uuid4()),
        name="box",
        status=entities.SandboxStatus.RUNNING,
        status_reason=None,
        image="python",
        metadata={"team": "a"},
        environment_variable_names=("KEY",),
        limits=limits,
        created_at=NOW,
        updated_at=NOW,
        started_at=NOW,
        last_active_at=NOW,
        expires_at=NOW,
        session_id="session",
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the tests know the fields


def execution(**changes: object) -> entities.Execution:
    """Make an execution that succeeded."""
    made = entities.Execution(
        id=entities.ExecutionId(uuid4()),
        sandbox_id=entities.SandboxId(uuid4()),
        owner_id=entities.UserId(uuid4()),
        kind=messages.ExecutionKind.CODE,
        client_execution_id=None,
        code="1",
        status=messages.ExecutionStatus.SUCCEEDED,
        exit_code=0,
        stdout="out",
        stderr="",
        output_truncated=False,
        results=(messages.DisplayData({"text/plain": "1"}, is_result=True),),
        error=None,
        execution_count=1,
        created_at=NOW,
        started_at=NOW,
        finished_at=NOW,
        duration_ms=1.5,
        last_seq=3,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the tests know the fields


def outline(whole: entities.Execution) -> entities.ExecutionOutline:
    """Leave out what is large."""
    kept = {each.name: getattr(whole, each.name) for each in fields(entities.ExecutionOutline)}
    return entities.ExecutionOutline(**kept)


def _only[E: entities.ExecutionOutline](item: E) -> entities.Page[E]:
    return entities.Page([item], ["c0"], has_next_page=False, has_previous_page=False)


@dataclass
class StubSandboxes:
    """Knows the sandboxes it is given."""

    known: list[entities.Sandbox] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    fault: Exception | None = None
    created: entities.NewSandbox | None = None
    changed: entities.SandboxChanges | None = None

    async def get(self, _viewer: entities.Viewer, sandbox_id: str) -> entities.Sandbox | None:
        """Look for one, or fail as told."""
        self.calls.append("get")
        if self.fault:
            raise self.fault
        return next((item for item in self.known if str(item.id) == sandbox_id), None)

    async def get_many(
        self, _viewer: entities.Viewer, ids: Sequence[entities.SandboxId]
    ) -> Sequence[entities.Sandbox]:
        """Look for several at once."""
        self.calls.append("get_many")
        return [item for item in self.known if item.id in ids]

    async def page(
        self,
        _viewer: entities.Viewer,
        first: int,
        _after: str | None,
        _wanted: entities.SandboxFilter,
    ) -> entities.Page[entities.Sandbox]:
        """Give the first page."""
        self.calls.append("page")
        items = self.known[:first]
        cursors = [f"c{number}" for number in range(len(items))]
        return entities.Page(items, cursors, len(self.known) > first, has_previous_page=False)

    async def count(self, _viewer: entities.Viewer, _wanted: entities.SandboxFilter) -> int:
        """Count all."""
        self.calls.append("count")
        return len(self.known)

    async def changes(
        self, _viewer: entities.Viewer, _sandbox_id: str | None
    ) -> AsyncGenerator[entities.SandboxChange, None]:
        """Tell each once."""
        for item in self.known:
            yield entities.SandboxChange(item, None, NOW)

    async def create(self, _viewer: entities.Viewer, new: entities.NewSandbox) -> entities.Sandbox:
        """Remember what was asked for."""
        self.created = new
        return sandbox(name=new.name)

    async def update(
        self, _viewer: entities.Viewer, _sandbox_id: str, changes: entities.SandboxChanges
    ) -> entities.Sandbox:
        """Remember what was asked for."""
        self.changed = changes
        return sandbox()


@dataclass
class StubExecutions:
    """Streams the events it is given, then waits where told."""

    events: list[messages.Event] = field(default_factory=list)
    record: entities.Execution = field(default_factory=execution)
    refusal: Exception | None = None
    fault: Exception | None = None
    endless: bool = False
    opened: int = 0
    closed: int = 0
    asked: entities.CodeToRun | None = None
    calls: list[str] = field(default_factory=list)
    large_bytes: int = 0
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(
        self, _viewer: entities.Viewer, execution_id: str, _budget: ReadBudget
    ) -> entities.Execution | None:
        """Look for the one it knows."""
        self.calls.append("get")
        return self.record if str(self.record.id) == execution_id else None

    async def outline(
        self, _viewer: entities.Viewer, execution_id: str, _budget: ReadBudget
    ) -> entities.ExecutionOutline | None:
        """Look for the one it knows, without what is large."""
        self.calls.append("outline")
        return outline(self.record) if str(self.record.id) == execution_id else None

    async def whole(
        self,
        _viewer: entities.Viewer,
        ids: Sequence[entities.SandboxId],
        _first: int,
        _after: str | None,
        budget: ReadBudget,
    ) -> list[entities.Page[entities.Execution]]:
        """Give the one it knows, for each sandbox."""
        self.calls.append("page")
        for _ in ids:
            budget.take(PageSize(2, self.large_bytes))
        return [_only(self.record) for _ in ids]

    async def outlines(
        self,
        _viewer: entities.Viewer,
        ids: Sequence[entities.SandboxId],
        _first: int,
        _after: str | None,
        _budget: ReadBudget,
    ) -> list[entities.Page[entities.ExecutionOutline]]:
        """Give the one it knows, without what is large, for each sandbox."""
        self.calls.append("outlines")
        return [_only(outline(self.record)) for _ in ids]

    async def counts(
        self, _viewer: entities.Viewer, ids: Sequence[entities.SandboxId]
    ) -> list[int]:
        """Count the one it knows, for each sandbox."""
        self.calls.append("counts")
        return [1 for _ in ids]

    async def stream(
        self, _viewer: entities.Viewer, code: entities.CodeToRun
    ) -> AsyncGenerator[entities.ExecutionUpdate, None]:
        """Stream what it was given."""
        self.asked = code
        self.opened += 1
        try:
            if self.refusal:
                raise self.refusal
            for event in self.events:
                ended = self.record if isinstance(event, messages.Finished) else None
                yield entities.ExecutionUpdate(self.record.id, event, ended)
            if self.fault:
                raise self.fault
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.closed += 1
            self.closing.set()


@dataclass
class StubFiles:
    """Knows no files."""

    async def get(
        self, _viewer: entities.Viewer, _sandbox: entities.Sandbox, _path: str
    ) -> entities.FileEntry | None:
        """Find nothing."""
        raise NotFoundError("There is no such file.")


@dataclass
class Stubs:
    """All of them, and the application's backend made of them."""

    sandboxes: StubSandboxes = field(default_factory=StubSandboxes)
    executions: StubExecutions = field(default_factory=StubExecutions)
    files: StubFiles = field(default_factory=StubFiles)
    missing: list[str] = field(default_factory=list)

    def services(self) -> Services:
        """Stand in for the real ones."""
        return Services(
            sandboxes=cast("SandboxService", self.sandboxes),
            executions=cast("ExecutionService", self.executions),
            pages=cast("ExecutionPages", self.executions),
            packages=cast("PackageService", object()),
            files=cast("FileService", self.files),
        )

    async def problems(self) -> Sequence[str]:
        """Say what the test says is missing."""
        return self.missing

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[Backend]:
        """Open as the lifespan does."""
        async with open_rates(settings) as rates:
            yield Backend(self.services(), TokenVerifier(SECRET), rates, self)


def viewer(user_id: UUID | None = None) -> entities.Viewer:
    """Make a verified user."""
    made = user_id or uuid4()
    return entities.Viewer(
        id=entities.UserId(made),
        email=None,
        role="authenticated",
        claims={"sub": str(made), "role": "authenticated"},
        expires_at=datetime.now(UTC) + timedelta(minutes=10),
    )


def token(user_id: UUID | None = None, seconds: float = 600) -> str:
    """Sign a token of the tests."""
    return make_token(SECRET, user_id or uuid4(), seconds)
