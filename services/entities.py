"""What the services speak of: frozen values, free of rows, of Ray and of GraphQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from services.executor.messages import (
    JSON,
    CodeError,
    DisplayData,
    Event,
    ExecutionKind,
    ExecutionStatus,
)

UserId = NewType("UserId", UUID)
SandboxId = NewType("SandboxId", UUID)
ExecutionId = NewType("ExecutionId", UUID)


class SandboxStatus(StrEnum):
    """The contract's `SandboxStatus`."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    FAILED = "FAILED"


TRANSITIONS: Mapping[SandboxStatus, frozenset[SandboxStatus]] = {
    SandboxStatus.STOPPED: frozenset({SandboxStatus.STARTING, SandboxStatus.STOPPING}),
    SandboxStatus.STARTING: frozenset(
        {SandboxStatus.RUNNING, SandboxStatus.FAILED, SandboxStatus.STOPPING}
    ),
    SandboxStatus.RUNNING: frozenset({SandboxStatus.STOPPING, SandboxStatus.FAILED}),
    SandboxStatus.STOPPING: frozenset({SandboxStatus.STOPPED, SandboxStatus.FAILED}),
    SandboxStatus.FAILED: frozenset({SandboxStatus.STARTING, SandboxStatus.STOPPING}),
}
"""The status machine: what may follow what. Deletion goes through STOPPING."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user that a verified token names."""

    id: UserId
    email: str | None
    role: str
    claims: Mapping[str, JSON]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ViewerLimits:
    """How much one user may have at once."""

    max_sandboxes: int
    max_running_sandboxes: int
    max_concurrent_executions: int


@dataclass(frozen=True, slots=True)
class ViewerUsage:
    """How much one user has now."""

    sandboxes: int
    running_sandboxes: int
    running_executions: int


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one sandbox may use; bytes and seconds."""

    memory_bytes: int
    cpus: float
    processes: int
    disk_bytes: int
    execution_timeout_seconds: float
    idle_timeout_seconds: float
    lifetime_seconds: float


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as its owner sees it."""

    id: SandboxId
    owner_id: UserId
    name: str | None
    status: SandboxStatus
    status_reason: str | None
    image: str
    metadata: Mapping[str, str]
    environment_variable_names: Sequence[str]
    limits: SandboxLimits
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    last_active_at: datetime | None
    expires_at: datetime | None
    session_id: str | None


@dataclass(frozen=True, slots=True)
class SandboxStats:
    """Measured figures of a RUNNING sandbox; bytes and seconds."""

    session_id: str
    execution_count: int
    created_at: datetime
    uptime_seconds: float
    container_status: str
    memory_used_bytes: int
    cpu_seconds: float
    disk_used_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution that the sandbox can import."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a workspace."""

    name: str
    path: str
    kind: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ExecutionOutline:
    """A run of code or an installation, without what of it may be megabytes."""

    id: ExecutionId
    sandbox_id: SandboxId
    owner_id: UserId
    kind: ExecutionKind
    client_execution_id: str | None
    status: ExecutionStatus
    exit_code: int | None
    output_truncated: bool
    error: CodeError | None
    execution_count: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: float | None
    last_seq: int


@dataclass(frozen=True, slots=True)
class Execution(ExecutionOutline):
    """All of a run of code or an installation; complete once its status has ended."""

    code: str
    stdout: str
    stderr: str
    results: Sequence[DisplayData]


@dataclass(frozen=True, slots=True)
class ExecutionUpdate:
    """One event of one execution; `execution` is the complete record beside the last event."""

    execution_id: ExecutionId
    event: Event
    execution: Execution | None = None


@dataclass(frozen=True, slots=True)
class SandboxChange:
    """A sandbox after a change, or the id of one that was deleted."""

    sandbox: Sandbox | None
    deleted_sandbox_id: SandboxId | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Page[T]:
    """One page of a connection; `cursors` has one for each of `items`."""

    items: Sequence[T]
    cursors: Sequence[str]
    has_next_page: bool
    has_previous_page: bool


@dataclass(frozen=True, slots=True)
class SandboxFilter:
    """Which sandboxes to list; an empty filter lists all."""

    statuses: Sequence[SandboxStatus] | None = None
    metadata: Mapping[str, str] | None = None
    name_contains: str | None = None


class Unset:
    """Stands for a field left out, where null means something else."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What `createSandbox` takes, unchecked."""

    name: str | None = None
    metadata: JSON = None
    image: str | None = None
    environment: Sequence[tuple[str, str]] = ()
    idle_timeout_seconds: float | None = None
    lifetime_seconds: float | None = None
    start: bool = False
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class SandboxChanges:
    """What `updateSandbox` takes, unchecked; UNSET keeps, None clears."""

    name: str | Unset | None = UNSET
    metadata: JSON | Unset = UNSET
    idle_timeout_seconds: float | Unset | None = UNSET
    lifetime_seconds: float | Unset | None = UNSET


@dataclass(frozen=True, slots=True)
class CodeToRun:
    """What `executeCode` takes, unchecked."""

    sandbox_id: str
    code: str
    timeout_seconds: float | None = None
    environment: Sequence[tuple[str, str]] = ()
    client_execution_id: str | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class PackagesToInstall:
    """What `installPackages` takes, unchecked."""

    sandbox_id: str
    packages: Sequence[str] = field(default_factory=tuple)
    client_execution_id: str | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class UploadAddress:
    """A signed address that takes one file's bytes by PUT."""

    url: str
    expires_at: datetime
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Installed:
    """A finished installation and what the sandbox has now."""

    execution: Execution
    packages: Sequence[Package]
