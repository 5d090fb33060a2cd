"""What an operator decides about the services, read once in `app` and handed down."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.entities import ViewerLimits
from services.executor.messages import SessionLimits


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What every session of this instance is started with."""

    instance: str
    """Eight hexadecimal characters; session ids begin with it."""
    node_data_dir: str
    """Where a node keeps the sessions' folders."""
    default_image: str
    images: Mapping[str, str | None] = field(default_factory=dict)
    """The images that a user may name, each with its Dockerfile where the executor builds it."""
    limits: SessionLimits = field(default_factory=SessionLimits)
    runtime: str = "runsc"
    num_cpus: float = 0.05
    memory_reservation_bytes: int = 256 * 1024 * 1024
    package_index_url: str | None = None
    packages_enabled: bool = True
    start_timeout_seconds: float = 60.0
    stop_timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """Defaults and maxima of the times that users choose, and of those they don't; seconds."""

    max_execution_timeout_seconds: float = 300.0
    idle_timeout_seconds: float = 3_600.0
    max_idle_timeout_seconds: float = 86_400.0
    lifetime_seconds: float = 86_400.0
    max_lifetime_seconds: float = 604_800.0
    retention_seconds: float = 30 * 86_400.0
    """How long an ended execution stays on the record."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """All that the services are told."""

    sessions: SessionSettings
    times: TimeSettings = field(default_factory=TimeSettings)
    quotas: ViewerLimits = field(
        default_factory=lambda: ViewerLimits(
            max_sandboxes=100, max_running_sandboxes=20, max_concurrent_executions=20
        )
    )
    installs_per_minute: int = 20
    """How many installations one user may begin in any minute."""
    keeper_lease_seconds: float = 10.0
    """After so long without a sign of the keeper, another process takes its duties over."""
    public_url: str = "http://127.0.0.1:8000"
    """Where clients reach the API; the base of signed addresses."""
