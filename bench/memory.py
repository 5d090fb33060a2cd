"""Services that answer from memory what `bench.plain` shows, in our own entities."""

from typing import cast
from uuid import UUID, uuid4

from bench.plain import CURSOR, KNOWN, NOW
from resolvers.context import Services
from services import entities
from services.execution_pages import ExecutionPages
from services.executions import ExecutionService
from services.files import FileService
from services.packages import PackageService
from services.sandboxes import SandboxService

_OWNER = entities.UserId(uuid4())
_LIMITS = entities.SandboxLimits(512 * 2**20, 1.0, 128, 2**30, 300.0, 3600.0, 86_400.0)


class MemorySandboxes:
    """Has the first page."""

    def __init__(self) -> None:
        self._known = [_sandbox(UUID(each.id)) for each in KNOWN]

    async def page(
        self,
        _viewer: entities.Viewer,
        first: int,
        _after: str | None,
        _wanted: entities.SandboxFilter,
    ) -> entities.Page[entities.Sandbox]:
        """Show it, whatever `after` and the filter are."""
        items = self._known[:first]
        return entities.Page(
            items, [CURSOR] * len(items), len(self._known) > first, has_previous_page=False
        )


def in_memory() -> Services:
    """Stand in for the real ones, as far as they are measured."""
    return Services(
        sandboxes=cast("SandboxService", MemorySandboxes()),
        executions=cast("ExecutionService", None),
        pages=cast("ExecutionPages", None),
        packages=cast("PackageService", None),
        files=cast("FileService", None),
    )


def _sandbox(sandbox_id: UUID) -> entities.Sandbox:
    return entities.Sandbox(
        id=entities.SandboxId(sandbox_id),
        owner_id=_OWNER,
        name="bench",
        status=entities.SandboxStatus.STOPPED,
        status_reason=None,
        image="sandbox-api/python:latest",
        metadata={"team": "bench"},
        environment_variable_names=(),
        limits=_LIMITS,
        created_at=NOW,
        updated_at=NOW,
        started_at=None,
        last_active_at=None,
        expires_at=None,
        session_id=None,
    )
