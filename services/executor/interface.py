"""What the services ask of the executor; `client.RayExecutor` is the real one.

Every method may raise `ClusterUnavailableError` (Ray did not answer) and, where it takes a
`session_id`, `SessionGoneError` (no actor of that name). Paths are relative to the
workspace, or absolute below `/workspace`.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from services.executor.messages import (
    Collected,
    EventBatch,
    ExecuteRequest,
    ExecutionRecord,
    FileInfo,
    FileRange,
    InstallRequest,
    SessionInfo,
    SessionSpec,
    SessionState,
    SessionStats,
    SessionTrace,
)

READ_BYTES = 1024 * 1024
READ_WAIT_SECONDS = 20.0


class Executor(Protocol):
    """The sessions of one instance, wherever in the cluster they live."""

    async def start(self, spec: SessionSpec) -> SessionInfo:
        """Bring the session up; one that runs already answers as it is.

        Raises `NoCapacityError` and `SandboxStartError`; then nothing of it runs any more.
        """

    async def stop(self, session_id: str, node_id: str | None) -> tuple[ExecutionRecord, ...]:
        """End actor and container, keep the folders; return what had ended unrecorded.

        Executions that were queued or running end as LOST. Stopping what does not run is
        no error.
        """

    def is_near(self, session_id: str) -> bool:
        """Say whether it is there and takes no time to reach, as far as is known at once."""

    async def restart(self, session_id: str) -> None:
        """Clear the interpreter's state; queued and running executions end INTERRUPTED."""

    async def destroy(self, session_id: str, node_id: str | None) -> None:
        """Stop, and remove folders, mounts and images of the session; idempotent."""

    async def execute(self, session_id: str, request: ExecuteRequest) -> EventBatch:
        """Queue code, or attach to it, and return its first events. Raises `QueueFullError`."""

    async def install(self, session_id: str, request: InstallRequest) -> EventBatch:
        """Begin an installation, or attach. Raises `InvalidRequirementError`, `QueueFullError`."""

    async def read(
        self,
        session_id: str,
        execution_id: str,
        after: int,
        *,
        max_bytes: int = READ_BYTES,
        wait_seconds: float = READ_WAIT_SECONDS,
        reader_id: str = "",
    ) -> EventBatch:
        """Wait for events after `after`. Raises `UnknownExecutionError`.

        `reader_id` names a reader over its calls, so that the producer waits for it.
        """

    async def leave(self, session_id: str, execution_id: str, reader_id: str) -> None:
        """Say that this reader asks no more, so that nothing waits for it."""

    async def record(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Return an execution as it is now. Raises `UnknownExecutionError`."""

    async def wait_ended(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Return an execution once it has ended. Raises `UnknownExecutionError`."""

    async def interrupt(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Interrupt it, or take it off the queue, and return it as it is then."""

    async def provide_input(
        self, session_id: str, execution_id: str, input_seq: int, text: str
    ) -> ExecutionRecord:
        """Answer an `InputRequested`. Raises `NotWaitingError`, `UnknownExecutionError`."""

    async def collect(
        self,
        session_id: str,
        acknowledged: Collection[str],
        packages_version: int,
        *,
        wait_seconds: float,
    ) -> Collected:
        """Forget the acknowledged records and wait for something new to record."""

    async def state(self, session_id: str) -> SessionState:
        """Return what it has and does now, without a claim on what is to be recorded."""

    async def stats(self, session_id: str) -> SessionStats:
        """Read the session's statistics."""

    async def list_files(self, session_id: str, path: str) -> Sequence[FileInfo]:
        """List a folder by name. Raises `InvalidPathError`, `FileMissingError`."""

    async def file_info(self, session_id: str, path: str) -> FileInfo | None:
        """Return one entry, None where there is none. Raises `InvalidPathError`."""

    async def read_file(self, session_id: str, path: str, offset: int, length: int) -> FileRange:
        """Read bytes of a regular file; fewer than `length` only at its end (at most 4 MiB).

        Raises `InvalidPathError`, `FileMissingError`.
        """

    async def write_file(self, session_id: str, path: str, content: bytes) -> FileInfo:
        """Write one file atomically, making parent folders.

        Raises `InvalidPathError`, `DiskFullError`, `FileTooLargeError`.
        """

    async def begin_upload(self, session_id: str, path: str, max_bytes: int) -> str:
        """Open a staged upload and return its id; staged bytes count in the disk limit."""

    async def append_upload(self, session_id: str, upload_id: str, chunk: bytes) -> None:
        """Add bytes (at most 4 MiB a call). Raises `FileTooLargeError`, `DiskFullError`."""

    async def commit_upload(self, session_id: str, upload_id: str) -> FileInfo:
        """Put the staged file in place, atomically."""

    async def abort_upload(self, session_id: str, upload_id: str) -> None:
        """Drop a staged upload; one unknown is no error."""

    async def delete_file(self, session_id: str, path: str) -> None:
        """Remove a file, or a folder with all below it. Raises `FileMissingError`."""

    async def inventory(self) -> Sequence[SessionTrace]:
        """List what there is of this instance's sessions, on every node."""

    async def last_words(self, session_id: str, node_id: str | None) -> Collected | None:
        """Return what a session that is gone left to say on its node, None where nothing."""

    async def problems(self) -> Sequence[str]:
        """Ask a Ray node what is missing there to run sandboxes (Docker, gVisor, image)."""

    async def ping(self) -> None:
        """Check that Ray answers, within two seconds."""
