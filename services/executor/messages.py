"""What crosses Ray between the API and a session: frozen, versioned, picklable.

Times are seconds since the epoch (`float`); sizes are bytes; ids are UUIDs in text form,
so that a message means the same on any node.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Self

PROTOCOL_VERSION = 4
"""Bumped with any change that an actor of an older version would misread."""

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


class ExecutionStatus(StrEnum):
    """The contract's `ExecutionStatus`."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    INTERRUPTED = "INTERRUPTED"
    LOST = "LOST"

    @property
    def ended(self) -> bool:
        """Whether nothing can follow this status."""
        return self not in (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)


class ExecutionKind(StrEnum):
    """The contract's `ExecutionKind`; TOOL is a run of ray-agents' own tools, kept nowhere."""

    CODE = "CODE"
    INSTALL = "INSTALL"
    TOOL = "TOOL"


class OutputStream(StrEnum):
    """The contract's `OutputStream`."""

    STDOUT = "STDOUT"
    STDERR = "STDERR"


class Message:
    """What crosses: pickled as its values, in the order of its fields.

    A frozen dataclass with slots would find out its fields anew each time, which takes up to
    1.8 times as long and is on the way of every event.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        """Say how it is made again."""
        kind = type(self)
        return kind, tuple([getattr(self, name) for name in kind.__match_args__])


@dataclass(frozen=True, slots=True)
class CodeError(Message):
    """An exception of the code, as people read it: no frame of ours, no terminal escapes."""

    name: str
    value: str
    traceback: str


@dataclass(frozen=True, slots=True)
class DisplayData(Message):
    """One mime bundle; binary types are base64 text, `application/json` any JSON value."""

    bundle: dict[str, JSON]
    is_result: bool
    display_id: str | None = None


@dataclass(frozen=True, slots=True)
class Queued(Message):
    """The execution waits; `position` others are before it."""

    seq: int
    at: float
    position: int


@dataclass(frozen=True, slots=True)
class Started(Message):
    """The code began to run."""

    seq: int
    at: float


@dataclass(frozen=True, slots=True)
class Output(Message):
    """Whole characters from one stream."""

    seq: int
    at: float
    stream: OutputStream
    text: str


@dataclass(frozen=True, slots=True)
class Display(Message):
    """A value or figure shown."""

    seq: int
    at: float
    data: DisplayData


@dataclass(frozen=True, slots=True)
class Cleared(Message):
    """Code asked to clear what it has shown."""

    seq: int
    at: float
    wait: bool


@dataclass(frozen=True, slots=True)
class InputRequested(Message):
    """Code called `input()` or `getpass()`."""

    seq: int
    at: float
    prompt: str
    password: bool


@dataclass(frozen=True, slots=True)
class Gap(Message):
    """Events `from_seq` to `seq` are no longer kept; `dropped_bytes` were in them."""

    seq: int
    at: float
    from_seq: int
    dropped_bytes: int


@dataclass(frozen=True, slots=True)
class Errored(Message):
    """The code raised, or the sandbox did under it."""

    seq: int
    at: float
    error: CodeError


@dataclass(frozen=True, slots=True)
class Finished(Message):
    """The last event of every execution."""

    seq: int
    at: float
    status: ExecutionStatus
    exit_code: int
    duration_ms: float
    interpreter_restarted: bool


Event = Queued | Started | Output | Display | Cleared | InputRequested | Gap | Errored | Finished


@dataclass(frozen=True, slots=True)
class EventBatch(Message):
    """Events after the position asked for, in order; empty when the wait ran out."""

    execution_id: str
    events: tuple[Event, ...]
    ended: bool
    """Whether the last of `events` is the execution's last, so that a reader may leave."""
    record: "ExecutionRecord | None" = None
    """The complete record, beside the last event."""


@dataclass(frozen=True, slots=True)
class SessionLimits(Message):
    """What one session may use."""

    memory_bytes: int = 512 * 1024 * 1024
    cpus: float = 1.0
    processes: int = 128
    disk_bytes: int = 1024 * 1024 * 1024
    disk_files: int = 65_536
    packages_bytes: int = 2 * 1024 * 1024 * 1024
    packages_files: int = 200_000
    upload_bytes: int = 1024 * 1024 * 1024
    """One signed upload; one by `uploadFile` is bounded by the API."""
    queue_length: int = 32
    install_seconds: float = 300.0
    tool_timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class SessionSpec(Message):
    """All that a session needs to be started, on any node."""

    session_id: str
    instance: str
    sandbox_id: str
    owner_id: str
    image: str
    environment: dict[str, str]
    limits: SessionLimits
    node_data_dir: str
    runtime: str = "runsc"
    dockerfile: str | None = None
    package_index_url: str | None = None
    packages_enabled: bool = True
    num_cpus: float = 0.05
    memory_reservation_bytes: int = 256 * 1024 * 1024
    node_id: str | None = None
    """The Ray node that holds the folders; None where the session was never started."""
    start_timeout_seconds: float = 60.0
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class SessionInfo(Message):
    """What a session that runs says of itself."""

    session_id: str
    node_id: str
    started_at: float
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class ExecuteRequest(Message):
    """One run of code; the same `execution_id` again attaches instead."""

    execution_id: str
    code: str
    timeout_seconds: float
    environment: dict[str, str] = field(default_factory=dict)
    kind: ExecutionKind = ExecutionKind.CODE
    reader_id: str = ""
    """Who will `read` it; output waits for that reader from the start."""
    on_record: bool = True
    """Whether its record is written already; if not, whoever asks for it says so by that."""

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        """Leave out what is as ever, for actors that do not know it: they are called by Ray."""
        kind, values = Message.__reduce__(self)
        return kind, values[:-1] if self.on_record else values


@dataclass(frozen=True, slots=True)
class InstallRequest(Message):
    """One installation; the same `execution_id` again attaches instead."""

    execution_id: str
    requirements: tuple[str, ...]
    upgrade: bool = False
    reader_id: str = ""


@dataclass(frozen=True, slots=True)
class InstalledPackage(Message):
    """A distribution that the sandbox can import, as resolved."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ExecutionRecord(Message):
    """An execution as it is now; complete once `status.ended`."""

    execution_id: str
    kind: ExecutionKind
    status: ExecutionStatus
    exit_code: int | None
    stdout: str
    stderr: str
    output_truncated: bool
    results: tuple[DisplayData, ...]
    error: CodeError | None
    execution_count: int | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    duration_ms: float | None
    last_seq: int
    interpreter_restarted: bool


@dataclass(frozen=True, slots=True)
class Collected(Message):
    """What a session has for the recorder since it was last asked."""

    session_id: str
    ended: tuple[ExecutionRecord, ...]
    """Ended records that nobody has acknowledged; given again until somebody does."""
    packages: tuple[InstalledPackage, ...] | None
    packages_version: int
    """Grows with each change of `packages`, which is given where the recorder's is older."""
    last_active_at: float
    busy: bool
    """Whether anything is queued or running."""
    stopped_reason: str | None
    """Set once the session is over by itself: by ray-agents' clean-up, or by a fault."""
    failed: bool
    """Whether that was a fault."""


@dataclass(frozen=True, slots=True)
class SessionState(Message):
    """What a session has and does now, for whoever does not record its executions."""

    packages: tuple[InstalledPackage, ...]
    last_active_at: float
    busy: bool
    """Whether anything is queued, running or being installed."""


@dataclass(frozen=True, slots=True)
class SessionStats(Message):
    """Statistics of a session; `memory`, `cpu` and `disk` are the container's."""

    session_id: str
    execution_count: int
    created_at: float
    uptime_seconds: float
    container_status: str
    memory_used_bytes: int
    cpu_seconds: float
    disk_used_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class SessionTrace(Message):
    """What is left of one session on one node: an actor, a container, folders."""

    session_id: str
    node_id: str | None
    actor: bool
    container: bool
    folders: bool


class FileKind(StrEnum):
    """The contract's `FileKind`."""

    FILE = "FILE"
    DIRECTORY = "DIRECTORY"
    SYMLINK = "SYMLINK"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class FileInfo(Message):
    """One entry of a workspace; `path` is relative to the workspace, with `/` between parts."""

    name: str
    path: str
    kind: FileKind
    size_bytes: int
    modified_at: float
    version: str = ""
    """Changes when the bytes may have: lets a download notice that its file was replaced."""


@dataclass(frozen=True, slots=True)
class FileRange(Message):
    """Bytes of a file from an offset, with the file as it was when they were read."""

    info: FileInfo
    data: bytes
