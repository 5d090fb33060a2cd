"""What a sandbox may use, and what it uses."""

from datetime import datetime
from typing import Self

import strawberry

from services import entities


@strawberry.type
class SandboxLimits:
    """The contract's `SandboxLimits`."""

    memory_bytes: float
    cpus: float
    processes: int
    disk_bytes: float
    execution_timeout_seconds: float = strawberry.field(
        description=(
            "The most that an execution may ask for (an operator's setting, 300 by default); "
            "30 where it asks for nothing."
        )
    )
    idle_timeout_seconds: float = strawberry.field(
        description=(
            "From the end of the last operation; a queued or running execution is use. "
            "3600 by default."
        )
    )
    lifetime_seconds: float = strawberry.field(
        description="From `startedAt`; use does not move it. 86400 by default."
    )

    @classmethod
    def of(cls, limits: entities.SandboxLimits) -> Self:
        """Show what a sandbox may use."""
        return cls(
            memory_bytes=limits.memory_bytes,
            cpus=limits.cpus,
            processes=limits.processes,
            disk_bytes=limits.disk_bytes,
            execution_timeout_seconds=limits.execution_timeout_seconds,
            idle_timeout_seconds=limits.idle_timeout_seconds,
            lifetime_seconds=limits.lifetime_seconds,
        )


@strawberry.type
class SandboxStats:
    """The contract's `SandboxStats`."""

    session_id: str
    execution_count: int
    created_at: datetime
    uptime_seconds: float
    container_status: str
    memory_used_bytes: float
    cpu_seconds: float
    disk_used_bytes: float
    processes: int

    @classmethod
    def of(cls, stats: entities.SandboxStats) -> Self:
        """Show the figures of a RUNNING sandbox."""
        return cls(
            session_id=stats.session_id,
            execution_count=stats.execution_count,
            created_at=stats.created_at,
            uptime_seconds=stats.uptime_seconds,
            container_status=stats.container_status,
            memory_used_bytes=stats.memory_used_bytes,
            cpu_seconds=stats.cpu_seconds,
            disk_used_bytes=stats.disk_used_bytes,
            processes=stats.processes,
        )
