"""Calls of sessions: each finds the session's actor and asks it, by the short way where it can."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from services.executor import cluster, local
from services.executor.errors import ClusterUnavailableError, SessionGoneError
from services.executor.interface import READ_BYTES, READ_WAIT_SECONDS
from services.executor.messages import (
    Collected,
    EventBatch,
    ExecuteRequest,
    ExecutionRecord,
    FileInfo,
    FileRange,
    InstallRequest,
    SessionState,
    SessionStats,
)
from services.executor.rayagents import ACTOR_NAMESPACE, ACTOR_PREFIX
from services.executor.rpc import RpcClosedError

CALL_SECONDS = 30.0
GRACE_SECONDS = 10.0
FILE_SECONDS = 60.0
WAIT_SECONDS = 20.0


class SessionCalls:
    """What is asked of sessions that are there, as `interface.Executor` has it."""

    def __init__(self, node_data_dir: Path) -> None:
        """Name where sessions on this machine have their sockets; none is known yet."""
        self._handles: dict[str, Any] = {}
        self._local = local.LocalCalls(node_data_dir)

    def _forget(self, session_id: str) -> None:
        self._handles.pop(session_id, None)
        self._local.leave(session_id)

    async def _find(self, session_id: str) -> Any | None:  # noqa: ANN401
        handle = self._handles.get(session_id)
        if handle is None:
            handle = await cluster.blocking(
                cluster.find_actor, actor_name(session_id), ACTOR_NAMESPACE
            )
            if handle is not None:
                self._handles[session_id] = handle
        return handle

    async def _call(self, session_id: str, seconds: float, method: str, *arguments: object) -> Any:  # noqa: ANN401
        """Call the session, by the short way where that is there."""
        if method in local.METHODS:
            try:
                return await self._local.call(session_id, seconds, method, *arguments)
            except (RpcClosedError, SessionGoneError):
                # Ray knows what has become of it.
                self._local.leave(session_id)
        return await self._call_actor(session_id, seconds, method, *arguments)

    async def _call_actor(
        self, session_id: str, seconds: float, method: str, *arguments: object
    ) -> Any:  # noqa: ANN401
        """Call the session's actor; the next one where another process has replaced it."""
        handle = await self._find(session_id)
        if handle is None:
            msg = "The sandbox's session is not there any more."
            raise SessionGoneError(msg)
        try:
            return await cluster.answer(_method(handle, method).remote(*arguments), seconds)
        except SessionGoneError:
            self._handles.pop(session_id, None)
            successor = await self._find(session_id)
            if successor is None or cluster.same_actor(successor, handle):
                raise
        return await cluster.answer(_method(successor, method).remote(*arguments), seconds)

    def is_near(self, session_id: str) -> bool:
        """Whether its session is on this machine and there, as far as is known without asking."""
        return self._local.is_open(session_id)

    async def restart(self, session_id: str) -> None:
        """Clear the interpreter's state."""
        await self._call(session_id, CALL_SECONDS, "restart")

    async def execute(self, session_id: str, request: ExecuteRequest) -> EventBatch:
        """Queue code, or attach to it; return its first events."""
        batch: EventBatch = await self._call(session_id, CALL_SECONDS, "run", request)
        return batch

    async def install(self, session_id: str, request: InstallRequest) -> EventBatch:
        """Begin an installation, or attach."""
        batch: EventBatch = await self._call(session_id, CALL_SECONDS, "install", request)
        return batch

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
        """Wait for events after `after`."""
        batch: EventBatch = await self._call(
            session_id,
            wait_seconds + GRACE_SECONDS,
            "read",
            execution_id,
            after,
            max_bytes,
            wait_seconds,
            reader_id,
        )
        return batch

    async def leave(self, session_id: str, execution_id: str, reader_id: str) -> None:
        """Say that this reader asks no more."""
        await self._call(session_id, CALL_SECONDS, "leave", execution_id, reader_id)

    async def record(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Return an execution as it is now."""
        record: ExecutionRecord = await self._call(session_id, CALL_SECONDS, "record", execution_id)
        return record

    async def wait_ended(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Return an execution once it has ended."""
        while True:
            record: ExecutionRecord = await self._call(
                session_id,
                WAIT_SECONDS + GRACE_SECONDS,
                "wait_ended",
                execution_id,
                WAIT_SECONDS,
            )
            if record.status.ended:
                return record

    async def interrupt(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Interrupt an execution."""
        record: ExecutionRecord = await self._call(
            session_id, CALL_SECONDS, "interrupt", execution_id
        )
        return record

    async def provide_input(
        self, session_id: str, execution_id: str, input_seq: int, text: str
    ) -> ExecutionRecord:
        """Answer an open question."""
        record: ExecutionRecord = await self._call(
            session_id, CALL_SECONDS, "provide_input", execution_id, input_seq, text
        )
        return record

    async def collect(
        self,
        session_id: str,
        acknowledged: Collection[str],
        packages_version: int,
        *,
        wait_seconds: float,
    ) -> Collected:
        """Forget what is recorded and wait for something new to record."""
        collected: Collected = await self._call(
            session_id,
            wait_seconds + GRACE_SECONDS,
            "collect",
            tuple(acknowledged),
            packages_version,
            wait_seconds,
        )
        return collected

    async def state(self, session_id: str) -> SessionState:
        """Ask what it has and does now."""
        state: SessionState = await self._call(session_id, CALL_SECONDS, "state")
        return state

    async def stats(self, session_id: str) -> SessionStats:
        """Read the session's statistics."""
        stats: SessionStats = await self._call(session_id, CALL_SECONDS, "stats")
        return stats

    async def list_files(self, session_id: str, path: str) -> Sequence[FileInfo]:
        """List a folder."""
        found: Sequence[FileInfo] = await self._call(session_id, FILE_SECONDS, "list_files", path)
        return found

    async def file_info(self, session_id: str, path: str) -> FileInfo | None:
        """Describe one entry."""
        info: FileInfo | None = await self._call(session_id, FILE_SECONDS, "file_info", path)
        return info

    async def read_file(self, session_id: str, path: str, offset: int, length: int) -> FileRange:
        """Read bytes of a file."""
        part: FileRange = await self._call(
            session_id, FILE_SECONDS, "read_file", path, offset, length
        )
        return part

    async def write_file(self, session_id: str, path: str, content: bytes) -> FileInfo:
        """Write one file."""
        info: FileInfo = await self._call(session_id, FILE_SECONDS, "write_file", path, content)
        return info

    async def begin_upload(self, session_id: str, path: str, max_bytes: int) -> str:
        """Open a staged upload."""
        upload: str = await self._call(session_id, FILE_SECONDS, "begin_upload", path, max_bytes)
        return upload

    async def append_upload(self, session_id: str, upload_id: str, chunk: bytes) -> None:
        """Add to a staged upload."""
        await self._call(session_id, FILE_SECONDS, "append_upload", upload_id, chunk)

    async def commit_upload(self, session_id: str, upload_id: str) -> FileInfo:
        """Put a staged upload in place."""
        info: FileInfo = await self._call(session_id, FILE_SECONDS, "commit_upload", upload_id)
        return info

    async def abort_upload(self, session_id: str, upload_id: str) -> None:
        """Drop a staged upload."""
        await self._call(session_id, FILE_SECONDS, "abort_upload", upload_id)

    async def delete_file(self, session_id: str, path: str) -> None:
        """Remove a file or a folder."""
        await self._call(session_id, FILE_SECONDS, "delete_file", path)


def _method(handle: Any, name: str) -> Any:  # noqa: ANN401
    """Return an actor's method; one of another version may not have it, until its next start."""
    if not hasattr(handle, name):
        raise ClusterUnavailableError(
            "The sandbox's session is of another version: stop the sandbox and start it again."
        )
    return getattr(handle, name)


def actor_name(session_id: str) -> str:
    """Return the name that a session's actor has in the cluster."""
    return f"{ACTOR_PREFIX}{session_id}"
