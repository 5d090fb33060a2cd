"""The services' way to the sessions: finds, makes and calls their actors."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services.executor import cluster, local
from services.executor.agents import Agents
from services.executor.cluster import ClusterSettings
from services.executor.errors import (
    ClusterUnavailableError,
    ExecutorError,
    NoCapacityError,
    SandboxStartError,
    SessionGoneError,
)
from services.executor.facade import actor_class
from services.executor.interface import READ_BYTES, READ_WAIT_SECONDS
from services.executor.messages import (
    PROTOCOL_VERSION,
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
from services.executor.rayagents import ACTOR_NAMESPACE, ACTOR_PREFIX
from services.executor.rpc import RpcClosedError

logger = logging.getLogger(__name__)

CALL_SECONDS = 30.0
GRACE_SECONDS = 10.0
FILE_SECONDS = 60.0
WAIT_SECONDS = 20.0
PING_SECONDS = 2.0
SETTLE_SECONDS = 10.0
"""Within so long Ray has ended an actor and given its name free, in every process."""
SETTLE_PAUSE_SECONDS = 0.05
CONCURRENCY = 1000
STOPPED = "it was stopped"


class RayExecutor:
    """`interface.Executor` over Ray. An async context manager: connected while it is open."""

    def __init__(self, settings: ClusterSettings) -> None:
        """Name the cluster; nothing is connected yet."""
        self._settings = settings
        self._agents = Agents(settings)
        self._handles: dict[str, Any] = {}
        self._local = local.LocalCalls(Path(settings.node_data_dir))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect. Raises `ClusterUnavailableError`."""
        await cluster.blocking(cluster.connect, self._settings, seconds=cluster.CONNECT_SECONDS)
        self._stack.push_async_callback(asyncio.to_thread, cluster.disconnect)
        await self._agents.retire_old()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect; sessions go on."""
        await self.aclose()

    async def aclose(self) -> None:
        """Disconnect; idempotent."""
        self._local.close()
        await self._stack.aclose()

    # Life.

    async def start(self, spec: SessionSpec) -> SessionInfo:
        """Bring the session up; nothing of it is left running where that fails."""
        handle = await self._present(spec)
        try:
            if handle is None:
                handle = await self._create(spec)
            reference = handle.start.remote(spec)
            info: SessionInfo = await cluster.answer(reference, spec.start_timeout_seconds)
        except BaseException:
            await self._end(spec.session_id, spec.node_id)
            raise
        self._handles[spec.session_id] = handle
        self._local.expect(spec.session_id)
        return info

    async def _present(self, spec: SessionSpec) -> Any | None:  # noqa: ANN401
        """Return the session's actor where it is one of ours; replace one that is not."""
        handle = await cluster.blocking(cluster.find_actor, _name(spec.session_id), ACTOR_NAMESPACE)
        if handle is None:
            return None
        if hasattr(handle, "protocol_version"):
            try:
                version = await cluster.answer(handle.protocol_version.remote(), CALL_SECONDS)
            except SessionGoneError:
                return None
            if version == PROTOCOL_VERSION:
                return handle
        logger.warning("session %s had an actor that is not ours", spec.session_id)
        await self._end(spec.session_id, spec.node_id)
        return None

    async def _create(self, spec: SessionSpec) -> Any:  # noqa: ANN401
        node_id = spec.node_id
        if node_id is not None:
            node_id = await self._agents.holder(spec.session_id, node_id)
            if node_id is None:
                msg = "The node that holds this sandbox's files is not in the cluster any more."
                raise SandboxStartError(msg)
        options = {
            "name": _name(spec.session_id),
            "namespace": ACTOR_NAMESPACE,
            "get_if_exists": True,
            "num_cpus": spec.num_cpus,
            "memory": spec.memory_reservation_bytes,
            "max_concurrency": CONCURRENCY,
        }
        end = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            handle = await cluster.blocking(
                cluster.create_actor, actor_class(), options, node_id, spec.session_id
            )
            try:
                await self._wait_for_room(handle, spec, node_id)
                return handle
            except SessionGoneError as error:
                # The name may lead for a moment yet to one that another process has ended.
                if asyncio.get_running_loop().time() >= end:
                    logger.warning("session %s died as it was made: %s", spec.session_id, error)
                    msg = "Its process died as it was made: the log of its Ray node says why."
                    raise SandboxStartError(msg) from error
            await asyncio.sleep(SETTLE_PAUSE_SECONDS)

    async def _wait_for_room(
        self,
        handle: Any,  # noqa: ANN401
        spec: SessionSpec,
        node_id: str | None,
    ) -> None:
        """Wait until the actor has its place; say so soon where there is none for it."""
        born = asyncio.ensure_future(
            cluster.answer(handle.protocol_version.remote(), spec.start_timeout_seconds)
        )
        waited = 0.0
        try:
            while True:
                done, _ = await asyncio.wait({born}, timeout=1.0)
                if done:
                    born.result()
                    return
                room = await self._agents.has_room(
                    spec.num_cpus, spec.memory_reservation_bytes, node_id
                )
                waited = 0.0 if room else waited + 1.0
                self._require_room(waited, node_id)
        except BaseException:
            born.cancel()
            await asyncio.gather(born, return_exceptions=True)
            await cluster.blocking(cluster.end_actor, handle)
            raise

    def _require_room(self, waited: float, node_id: str | None) -> None:
        if waited >= self._settings.capacity_wait_seconds:
            where = "cluster" if node_id is None else "node that holds this sandbox's files"
            raise NoCapacityError(f"The {where} has no room for one more sandbox just now.")

    async def stop(self, session_id: str, node_id: str | None) -> tuple[ExecutionRecord, ...]:
        """End actor and container, keep the folders."""
        # Another process may have replaced the actor that this one knows.
        self._forget(session_id)
        handle = await self._find(session_id)
        unrecorded: tuple[ExecutionRecord, ...] = ()
        if handle is not None and hasattr(handle, "shutdown"):
            try:
                unrecorded = await cluster.answer(handle.shutdown.remote(STOPPED), CALL_SECONDS)
            except ExecutorError as error:
                logger.warning("session %s did not stop by itself: %s", session_id, error)
        await self._end(session_id, node_id)
        return unrecorded

    async def _end(self, session_id: str, node_id: str | None) -> None:
        """Make sure that no actor is left, nor a container where Docker answers."""
        self._forget(session_id)
        await self._end_actors(session_id)
        try:
            await self._agents.remove_container(session_id, node_id)
        except ExecutorError as error:
            # Nothing runs in it without its actor; the reconciler removes it later.
            logger.warning("the container of session %s is still there: %s", session_id, error)

    async def _end_actors(self, session_id: str) -> None:
        """End whatever has the session's name, until Ray has given that free."""
        name = _name(session_id)
        end = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            handle = await cluster.blocking(cluster.find_actor, name, ACTOR_NAMESPACE)
            if handle is None:
                return
            if asyncio.get_running_loop().time() >= end:
                raise ClusterUnavailableError("The sandbox's process has not ended yet: try again.")
            await cluster.blocking(cluster.end_actor, handle)
            await asyncio.sleep(SETTLE_PAUSE_SECONDS)

    async def restart(self, session_id: str) -> None:
        """Clear the interpreter's state."""
        await self._call(session_id, CALL_SECONDS, "restart")

    async def destroy(self, session_id: str, node_id: str | None) -> None:
        """Stop, and remove all there is of the session."""
        await self.stop(session_id, node_id)
        await self._agents.remove(session_id, node_id)

    # Calls.

    def _forget(self, session_id: str) -> None:
        self._handles.pop(session_id, None)
        self._local.leave(session_id)

    async def _find(self, session_id: str) -> Any | None:  # noqa: ANN401
        handle = self._handles.get(session_id)
        if handle is None:
            handle = await cluster.blocking(cluster.find_actor, _name(session_id), ACTOR_NAMESPACE)
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

    # Files.

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

    # The cluster.

    async def inventory(self) -> Sequence[SessionTrace]:
        """List what there is of this instance's sessions, on every node."""
        prefix = f"{ACTOR_PREFIX}{self._settings.instance}-"
        names = await cluster.blocking(cluster.named_actors, prefix, ACTOR_NAMESPACE)
        alive = {name.removeprefix(ACTOR_PREFIX) for name in names}
        found = [
            SessionTrace(
                trace.session_id,
                trace.node_id,
                trace.session_id in alive,
                trace.container,
                trace.folders,
            )
            for trace in await self._agents.inventory()
        ]
        unseen = alive - {trace.session_id for trace in found}
        return found + [
            SessionTrace(session_id, None, actor=True, container=False, folders=False)
            for session_id in sorted(unseen)
        ]

    async def last_words(self, session_id: str, node_id: str | None) -> Collected | None:
        """Return what a session that is gone left to say on its node."""
        return await self._agents.last_words(session_id, node_id)

    async def problems(self) -> Sequence[str]:
        """Say what is missing on the nodes to run sandboxes."""
        return await self._agents.problems()

    async def ping(self) -> None:
        """Check that Ray answers."""
        alive = await cluster.blocking(cluster.alive_nodes, seconds=PING_SECONDS)
        if not alive:
            msg = "The cluster has no node that is alive."
            raise ClusterUnavailableError(msg)


def _method(handle: Any, name: str) -> Any:  # noqa: ANN401
    """Return an actor's method; one of another version may not have it, until its next start."""
    if not hasattr(handle, name):
        raise ClusterUnavailableError(
            "The sandbox's session is of another version: stop the sandbox and start it again."
        )
    return getattr(handle, name)


def _name(session_id: str) -> str:
    return f"{ACTOR_PREFIX}{session_id}"
