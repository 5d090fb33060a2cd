"""The Ray actor of one session: ray-agents' executor, with our session behind it.

What ray-agents' own tools call keeps its name and its answers; what the API calls is beside
it. The container is still made by ray-agents' `_ensure_container`.
"""

import asyncio
import json
import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import docker
import ray
import requests

from services.executor import containers, local
from services.executor.attached import DockerStream
from services.executor.cgroup import ContainerGroup, put_services_first
from services.executor.containers import HardenedClient, Mounts, hardening
from services.executor.direct import (
    Command,
    DirectStream,
    DirectUnavailableError,
    run_direct,
)
from services.executor.disk_watch import watch_disk
from services.executor.errors import ExecutorError, SandboxStartError
from services.executor.files import WorkspaceFiles
from services.executor.interpreter import frames
from services.executor.messages import (
    PROTOCOL_VERSION,
    Collected,
    EventBatch,
    ExecuteRequest,
    ExecutionRecord,
    InstallRequest,
    SessionInfo,
    SessionSpec,
    SessionState,
    SessionStats,
)
from services.executor.packages import SessionPackages
from services.executor.program import library_folder, program_folder
from services.executor.rayagents import (
    CONTAINER_PREFIX,
    STOCK_IMAGE,
    StockExecutor,
)
from services.executor.rpc import RpcServer
from services.executor.sandbox_process import SandboxProcess
from services.executor.session import Session
from services.executor.storage import SessionStorage
from services.executor.tool_calls import ToolCalls
from services.executor.uploads import Uploads
from services.executor.verdicts import OUT_OF_MEMORY

logger = logging.getLogger(__name__)

UPLOAD_IDLE_SECONDS = 120.0
SWEEP_SECONDS = 30.0
MOST_PROCESSES = 1_000_000
CLEANED_BY_TOOLS = "ray-agents' cleanup_session ended it"


class SandboxExecutor(ToolCalls, StockExecutor):
    """Owns one container and the session in it."""

    def __init__(self, session_id: str) -> None:
        """Begin without a container; `start` brings everything up."""
        super().__init__(session_id=session_id)
        self.client: HardenedClient | None
        self._spec: SessionSpec | None = None
        self._options: dict[str, Any] = {}
        self._group: ContainerGroup | None = None
        self._process: SandboxProcess | None = None
        self._starting = asyncio.Lock()
        self._taken = asyncio.Event()
        self._cleaned = asyncio.Event()
        self._cleaned.set()
        self._watchers: list[asyncio.Task[None]] = []
        self._calls: RpcServer | None = None

    def __del__(self) -> None:
        """Leave the container to `shutdown`: an actor is not garbage."""

    async def protocol_version(self) -> int:
        """Say which messages this actor understands."""
        return PROTOCOL_VERSION

    # Life.

    async def start(self, spec: SessionSpec) -> SessionInfo:
        """Bring the session up, once; return what it is. Raises `SandboxStartError`."""
        async with self._starting:
            if self._session is None or self._session.stopped_reason is not None:
                await self._start(spec)
            return SessionInfo(
                session_id=self.session_id,
                node_id=ray.get_runtime_context().get_node_id(),
                started_at=self._require(self._session).created_at,
            )

    async def _start(self, spec: SessionSpec) -> None:
        await asyncio.to_thread(self._prepare, spec)
        storage = self._require(self._storage)
        packages = SessionPackages(spec, storage)
        await asyncio.to_thread(packages.prepare)
        session = Session(spec, self, packages)
        await session.start()
        self._session = session
        await self._listen(storage)
        self._watchers = [
            asyncio.create_task(self._sweep(), name="sweeper"),
            asyncio.create_task(watch_disk(storage, session.runner.end_all), name="disk"),
        ]

    async def _listen(self, storage: SessionStorage) -> None:
        """Answer callers on this machine by a socket too."""
        if self._calls is None:
            methods = {name: getattr(self, name) for name in local.METHODS}
            self._calls = RpcServer(storage.folder, local.SOCKET, methods)
        try:
            await self._calls.start()
        except OSError as error:
            logger.warning("no calls by a socket for session %s: %s", self.session_id, error)

    def _prepare(self, spec: SessionSpec) -> None:
        self._spec = spec
        data_dir = Path(spec.node_data_dir)
        storage = SessionStorage(data_dir, spec.session_id, spec.limits)
        storage.prepare()
        (storage.folder / "ended.json").unlink(missing_ok=True)
        self._storage = storage
        self._files = WorkspaceFiles(storage)
        self._uploads = Uploads(self._files, spec.limits.upload_bytes)
        self.image = spec.image
        if spec.dockerfile is not None:
            self.dockerfile, self.image = spec.dockerfile, STOCK_IMAGE
        self._options = hardening(
            spec,
            Mounts(
                workspace=str(storage.workspace),
                packages=str(storage.packages),
                program=str(program_folder(data_dir)),
                library=str(library_folder(data_dir)),
            ),
        )

    def _get_docker_client(self) -> HardenedClient:
        """Hand out a client whose containers are hardened."""
        if self.client is None:
            self.client = HardenedClient(self._options)
        return self.client

    async def shutdown(self, reason: str) -> tuple[ExecutionRecord, ...]:
        """End container and session, keep the folders; return what is unrecorded."""
        unrecorded = await self._shut_down(reason)
        self._taken.set()
        # Whoever asks this kills the actor next: a cleanup under way is answered before.
        await self._cleaned.wait()
        return unrecorded

    async def _shut_down(self, reason: str) -> tuple[ExecutionRecord, ...]:
        unrecorded: tuple[ExecutionRecord, ...] = ()
        while self._watchers:
            self._watchers.pop().cancel()
        if self._session is not None:
            unrecorded = await self._session.stop(reason)
        try:
            await asyncio.to_thread(self._remove)
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            # What is unrecorded must not be lost with it; the node's agent tries again.
            logger.warning("the container of session %s is still there: %s", self.session_id, error)
        return unrecorded

    def _remove(self) -> None:
        name = f"{CONTAINER_PREFIX}-{self.session_id}"
        try:
            containers.remove(self._get_docker_client(), name)
        finally:
            self.container = None
            self._hold(None)
            self._cleanup_docker_client()
            if self._uploads is not None:
                self._uploads.close()
            if self._storage is not None:
                self._storage.unmount()

    async def _sweep(self) -> None:
        """Drop uploads that nobody goes on with."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await asyncio.to_thread(self._require(self._uploads).expire, UPLOAD_IDLE_SECONDS)
            except OSError:
                logger.exception("session %s: uploads were not swept", self.session_id)

    # The container, as the session needs it.

    def ensure(self) -> None:
        """Make the container run. Raises `SandboxStartError`."""
        try:
            if self._process is not None and self._process.ended():
                containers.await_end(self.container)
            self._ensure_container()
            ours = containers.running(self.container)
            put_services_first()
            self._group = ContainerGroup(str(ours.id))
            self._hold(containers.sandbox_process(ours))
        except docker.errors.ImageNotFound as error:
            msg = f"The image {self.image!r} is not on this node: run `make setup` on it."
            raise SandboxStartError(msg) from error
        except ExecutorError:
            raise
        except Exception as error:
            # Docker's client lets through whatever its layers raise.
            msg = f"Docker could not start the container: {error}"
            raise SandboxStartError(msg) from error

    async def enter(self, command: Command) -> DirectStream:
        """Run a command in the container, without Docker in between."""
        try:
            entrance = await asyncio.to_thread(containers.entrance, self.container)
        except Exception as error:
            raise DirectUnavailableError(str(error)) from error
        return await run_direct(entrance, command)

    async def enter_by_docker(self, command: Command) -> DockerStream:
        """Run a command in the container, by Docker."""
        try:
            return await asyncio.to_thread(containers.open_exec, self.container, command)
        except Exception as error:
            # Docker's client lets through whatever its layers raise.
            msg = f"Docker could not start the interpreter: {error}"
            raise SandboxStartError(msg) from error

    def kill(self) -> None:
        """End the container at once."""
        # Docker may take seconds to notice, and hang with a sandbox that does.
        if self._process is None or not self._process.end():
            containers.kill(self.container)

    def forgive_memory(self) -> None:
        """Take what the kernel has ended of it for want of memory for told."""
        if self._group is not None:
            self._group.note_oom_kills()

    def _hold(self, process: SandboxProcess | None) -> None:
        before, self._process = self._process, process
        if before is not None:
            before.close()

    def ran_out_of_memory(self) -> bool:
        """Say whether the kernel has ended anything of it for that since it was forgiven."""
        return self._group is not None and self._group.new_oom_kills()

    def memory_in_use(self) -> int:
        """Return the bytes of memory that only an end of something would free."""
        return 0 if self._group is None else self._group.unreclaimable()

    def ended(self, seconds: float) -> bool:
        """Wait until the container runs no more, at most so long, and say whether that is so."""
        return containers.ended(self.container, seconds)

    def cause_of_death(self) -> str:
        """Say why the container, or the stream into it, is dead."""
        if self.ran_out_of_memory():
            return OUT_OF_MEMORY
        return containers.cause_of_death(
            self.container, self._require(self._spec).limits.memory_bytes
        )

    # Executions, for the API.

    async def run(self, request: ExecuteRequest) -> EventBatch:
        """Queue code, or attach; return the first events."""
        return await self._require(self._session).execute(request)

    async def install(self, request: InstallRequest) -> EventBatch:
        """Begin an installation, or attach; return the first events."""
        return await self._require(self._session).install(request)

    async def read(
        self, execution_id: str, after: int, max_bytes: int, wait_seconds: float, reader_id: str
    ) -> EventBatch:
        """Wait for events."""
        session = self._require(self._session)
        return await session.read(execution_id, after, max_bytes, wait_seconds, reader_id)

    async def leave(self, execution_id: str, reader_id: str) -> None:
        """Forget a reader."""
        self._require(self._session).leave(execution_id, reader_id)

    async def record(self, execution_id: str) -> ExecutionRecord:
        """Return an execution as it is now."""
        return self._require(self._session).record(execution_id)

    async def wait_ended(self, execution_id: str, seconds: float) -> ExecutionRecord:
        """Return an execution once it has ended, or as it is after `seconds`."""
        return await self._require(self._session).wait_ended(execution_id, seconds)

    async def interrupt(self, execution_id: str) -> ExecutionRecord:
        """Interrupt an execution, or take it off the queue."""
        return await self._open().interrupt(execution_id)

    async def provide_input(self, execution_id: str, input_seq: int, text: str) -> ExecutionRecord:
        """Answer an open question."""
        return self._open().provide_input(execution_id, input_seq, text)

    async def restart(self) -> None:
        """Clear the interpreter's state."""
        await self._open().restart()

    async def collect(
        self, acknowledged: Collection[str], packages_version: int, wait_seconds: float
    ) -> Collected:
        """Forget what is recorded; wait for something new to record."""
        session = self._require(self._session)
        return await session.collect(acknowledged, packages_version, wait_seconds)

    async def state(self) -> SessionState:
        """Say what the session has and does now."""
        return self._require(self._session).state()

    async def stats(self) -> SessionStats:
        """Measure the session."""
        session = self._require(self._session)
        inside = await session.runner.ask(frames.COUNT, frames.COUNTED, 5.0)
        container = self._require(self.container)
        group = self._require(self._group)
        usage = await asyncio.to_thread(containers.usage, container, group)
        disk = await asyncio.to_thread(self._require(self._storage).usage)
        return SessionStats(
            session_id=self.session_id,
            execution_count=session.execution_count,
            created_at=session.created_at,
            uptime_seconds=time.time() - session.created_at,
            container_status=usage.status,
            memory_used_bytes=usage.used.memory_bytes,
            cpu_seconds=usage.used.cpu_seconds,
            disk_used_bytes=disk.bytes,
            processes=_count(inside.get("processes")),
        )

    # What ray-agents calls before it kills the actor.

    async def cleanup(self) -> None:
        """End the session; ray-agents kills this actor right after.

        A recorder is given a moment to take what it has not; the reason is left on disk.
        """
        session = self._require(self._session)
        self._cleaned.clear()
        try:
            await self._shut_down(CLEANED_BY_TOOLS)
            await asyncio.to_thread(self._leave_last_words, session)
            waits = [
                asyncio.create_task(session.recorded(seconds=3.0)),
                asyncio.create_task(self._taken.wait()),
            ]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        finally:
            self._cleaned.set()

    def _leave_last_words(self, session: Session) -> None:
        words = {
            "reason": session.stopped_reason,
            "failed": session.failed,
            "last_active_at": session.last_active_at,
        }
        target = self._require(self._storage).folder / "ended.json"
        target.write_text(json.dumps(words))


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < MOST_PROCESSES else 0
