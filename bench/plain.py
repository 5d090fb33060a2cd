"""The same types as ours in plain Strawberry, with data in memory: what the rest is put over."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from uuid import UUID, uuid4

import strawberry
from strawberry.scalars import JSON

SANDBOXES = 20
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


@strawberry.enum
class SandboxStatus(Enum):
    """As far as it is shown."""

    STOPPED = "STOPPED"
    RUNNING = "RUNNING"


@strawberry.type
class SandboxLimits:
    """As far as it is shown."""

    memory_bytes: float
    cpus: float


@strawberry.type
class Sandbox:
    """As far as it is shown."""

    id: strawberry.ID
    name: str | None
    status: SandboxStatus
    status_reason: str | None
    image: str
    metadata: JSON
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    expires_at: datetime | None

    @strawberry.field
    def limits(self) -> SandboxLimits:
        """Show what it may use."""
        return SandboxLimits(memory_bytes=512 * 2**20, cpus=1.0)


@strawberry.type
class PageInfo:
    """As far as it is shown."""

    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class SandboxConnection:
    """As far as it is shown."""

    nodes: list[Sandbox]
    page_info: PageInfo


@strawberry.type
class Viewer:
    """As far as it is shown."""

    id: strawberry.ID
    email: str | None
    role: str


@strawberry.type
class Query:
    """The two fields that are measured, resolved as ours are: by coroutines."""

    @strawberry.field
    async def viewer(self) -> Viewer:
        """Show the one user."""
        return VIEWER

    @strawberry.field
    async def sandboxes(self, first: int = 20, after: str | None = None) -> SandboxConnection:
        """Show the first page, whatever `after` is."""
        del after
        found = page(first)
        info = PageInfo(has_next_page=len(KNOWN) > first, end_cursor=CURSOR)
        return SandboxConnection(nodes=list(found), page_info=info)


def page(first: int) -> Sequence[Sandbox]:
    """Return the first sandboxes."""
    return KNOWN[:first]


def _sandbox(sandbox_id: UUID) -> Sandbox:
    return Sandbox(
        id=strawberry.ID(str(sandbox_id)),
        name="bench",
        status=SandboxStatus.STOPPED,
        status_reason=None,
        image="sandbox-api/python:latest",
        metadata=JSON({"team": "bench"}),
        created_at=NOW,
        updated_at=NOW,
        started_at=None,
        expires_at=None,
    )


KNOWN = [_sandbox(uuid4()) for _ in range(SANDBOXES)]
CURSOR = "djE6MTc2NzMyMzA0NTY3ODkwMTo3YjYxNGNmYjU0M2M0YjVmYTA4ZTRmZGM3ZDI5YTk3Zg=="
VIEWER = Viewer(
    id=strawberry.ID(str(UUID(int=0))), email="00000000@localhost", role="authenticated"
)
