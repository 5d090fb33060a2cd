"""An executor in memory, for faults at moments that a real cluster can't be brought to.

It stands behind the `Executor` protocol and says what a real one says. A test holds a method
back by `gates`, or has its next call fail by `faults`; code is one of a few words.
"""
# ruff: noqa: ARG002 # the protocol's arguments, not all of which matter here

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from services.executor.errors import (
    FileMissingError,
    NotWaitingError,
    SessionGoneError,
    UnknownExecutionError,
)
from services.executor.messages import (
    Collected,
    EventBatch,
    ExecuteRequest,
    ExecutionRecord,
    ExecutionStatus,
    FileInfo,
    FileKind,
    FileRange,
    InstalledPackage,
    InstallRequest,
    SessionInfo,
    SessionSpec,
    SessionState,
    SessionStats,
    SessionTrace,
)
from tests.support.scripted_sessions import ScriptedExecution, ScriptedSession

NODE = "node-1"


class ScriptedExecutor:
    """Sessions of one node, none of them real."""

    def __init__(self) -> None:
        self.sessions: dict[str, ScriptedSession] = {}
        self.folders: set[str] = set()
        self.specs: list[SessionSpec] = []
        self.calls: Counter[str] = Counter()
        self.gates: dict[str, asyncio.Event] = {}
        self.faults: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self.words: dict[str, Collected] = {}
        self.afterwards: defaultdict[str, deque[Exception]] = defaultdict(deque)
        """Faults of a method that has done what was asked, but whose answer is lost."""
        self.near = True
        """Whether its sessions are on this machine."""

    async def _enter(self, method: str) -> None:
        self.calls[method] += 1
        if method in self.gates:
            await self.gates[method].wait()
        if self.faults[method]:
            raise self.faults[method].popleft()

    def _session(self, session_id: str) -> ScriptedSession:
        if session_id not in self.sessions:
            raise SessionGoneError("No actor of this name.")
        return self.sessions[session_id]

    @asynccontextmanager
    async def _execution(
        self, method: str, session_id: str, execution_id: str
    ) -> AsyncIterator[ScriptedExecution]:
        await self._enter(method)
        session = self._session(session_id)
        if execution_id not in session.executions:
            raise UnknownExecutionError("No such execution.")
        session.off_record.discard(execution_id)
        session.change()
        yield session.executions[execution_id]

    def kill(self, session_id: str) -> None:
        """End a session as a crash does."""
        self.sessions.pop(session_id).die()

    async def start(self, spec: SessionSpec) -> SessionInfo:
        """Make the session, unless it is there."""
        await self._enter("start")
        self.folders.add(spec.session_id)
        if spec.session_id not in self.sessions:
            self.specs.append(spec)
            self.sessions[spec.session_id] = ScriptedSession(spec.session_id)
        session = self.sessions[spec.session_id]
        return SessionInfo(spec.session_id, NODE, session.created_at)

    async def stop(self, session_id: str, node_id: str | None) -> tuple[ExecutionRecord, ...]:
        """End the session and keep its folder."""
        await self._enter("stop")
        session = self.sessions.pop(session_id, None)
        return () if session is None else session.die()

    def is_near(self, session_id: str) -> bool:
        """Say whether it is there, where that can be known at once."""
        return self.near and session_id in self.sessions

    async def restart(self, session_id: str) -> None:
        """End what runs as INTERRUPTED."""
        await self._enter("restart")
        session = self._session(session_id)
        for execution in session.unended():
            session.finish(execution, ExecutionStatus.INTERRUPTED)

    async def destroy(self, session_id: str, node_id: str | None) -> None:
        """End the session and remove its folder."""
        await self.stop(session_id, node_id)
        await self._enter("destroy")
        self.folders.discard(session_id)

    async def execute(self, session_id: str, request: ExecuteRequest) -> EventBatch:
        """Run one of the words: `hold` runs until it is ended, all else succeeds at once."""
        await self._enter("execute")
        session = self._session(session_id)
        name = request.execution_id
        if request.on_record:
            session.off_record.discard(name)
        elif name not in session.executions:
            session.off_record.add(name)
        batch = session.submit(name, request.kind, request.code)
        if self.afterwards["execute"]:
            raise self.afterwards["execute"].popleft()
        return batch

    async def install(self, session_id: str, request: InstallRequest) -> EventBatch:
        """Have every name at version 1."""
        await self._enter("install")
        session = self._session(session_id)
        return session.install(request.execution_id, request.requirements)

    async def read(
        self,
        session_id: str,
        execution_id: str,
        after: int,
        *,
        max_bytes: int = 0,
        wait_seconds: float = 20.0,
        reader_id: str = "",
    ) -> EventBatch:
        """Wait for events."""
        async with self._execution("read", session_id, execution_id) as execution:
            return await self._session(session_id).read(execution, after, wait_seconds)

    async def leave(self, session_id: str, execution_id: str, reader_id: str) -> None:
        """Count it."""
        await self._enter("leave")

    async def record(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Return the record."""
        async with self._execution("record", session_id, execution_id) as execution:
            return execution.record

    async def wait_ended(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """Wait for the end."""
        async with self._execution("wait_ended", session_id, execution_id) as execution:
            session = self._session(session_id)
            while not execution.record.status.ended:
                await session.wait(60)
            return execution.record

    async def interrupt(self, session_id: str, execution_id: str) -> ExecutionRecord:
        """End it as INTERRUPTED."""
        async with self._execution("interrupt", session_id, execution_id) as execution:
            if not execution.record.status.ended:
                self._session(session_id).finish(execution, ExecutionStatus.INTERRUPTED)
            return execution.record

    async def provide_input(
        self,
        session_id: str,
        execution_id: str,
        input_seq: int,
        text: str,
    ) -> ExecutionRecord:
        """Take an answer to event 3, and no other."""
        async with self._execution("provide_input", session_id, execution_id) as execution:
            if input_seq != 3:
                raise NotWaitingError("Another input is open.", status="RUNNING")
            return execution.record

    async def collect(
        self,
        session_id: str,
        acknowledged: Collection[str],
        packages_version: int,
        *,
        wait_seconds: float,
    ) -> Collected:
        """Say what is new."""
        await self._enter("collect")
        session = self._session(session_id)
        return await session.collect(acknowledged, packages_version, wait_seconds)

    async def state(self, session_id: str) -> SessionState:
        """Say what it has."""
        await self._enter("state")
        session = self._session(session_id)
        return SessionState(session.packages, session.last_active_at, bool(session.unended()))

    async def stats(self, session_id: str) -> SessionStats:
        """Say that it lives."""
        await self._enter("stats")
        session = self._session(session_id)
        age = time.time() - session.created_at
        return SessionStats(session_id, 0, session.created_at, age, "running", 1, 0.0, 0, 1)

    async def list_files(self, session_id: str, path: str) -> Sequence[FileInfo]:
        """List the one folder that there is."""
        await self._enter("list_files")
        return [_info(name, data) for name, data in self._session(session_id).files.items()]

    async def file_info(self, session_id: str, path: str) -> FileInfo | None:
        """Return a file."""
        await self._enter("file_info")
        data = self._session(session_id).files.get(path)
        return None if data is None else _info(path, data)

    async def read_file(self, session_id: str, path: str, offset: int, length: int) -> FileRange:
        """Read a file."""
        await self._enter("read_file")
        data = self._session(session_id).files.get(path)
        if data is None:
            raise FileMissingError("There is no such file.")
        return FileRange(_info(path, data), data[offset : offset + length])

    async def write_file(self, session_id: str, path: str, content: bytes) -> FileInfo:
        """Keep a file."""
        await self._enter("write_file")
        self._session(session_id).files[path] = content
        return _info(path, content)

    async def begin_upload(self, session_id: str, path: str, max_bytes: int) -> str:
        """Stage a file under its path."""
        await self._enter("begin_upload")
        self._session(session_id).staged[path] = b""
        return path

    async def append_upload(self, session_id: str, upload_id: str, chunk: bytes) -> None:
        """Add to it."""
        await self._enter("append_upload")
        self._session(session_id).staged[upload_id] += chunk

    async def commit_upload(self, session_id: str, upload_id: str) -> FileInfo:
        """Put it in place."""
        await self._enter("commit_upload")
        content = self._session(session_id).staged.pop(upload_id)
        return await self.write_file(session_id, upload_id, content)

    async def abort_upload(self, session_id: str, upload_id: str) -> None:
        """Drop it."""
        await self._enter("abort_upload")
        self._session(session_id).staged.pop(upload_id, None)

    async def delete_file(self, session_id: str, path: str) -> None:
        """Forget a file."""
        await self._enter("delete_file")
        if self._session(session_id).files.pop(path, None) is None:
            raise FileMissingError("There is no such file.")

    async def inventory(self) -> Sequence[SessionTrace]:
        """List sessions and folders."""
        await self._enter("inventory")
        return [
            SessionTrace(name, NODE, name in self.sessions, name in self.sessions, folders=True)
            for name in sorted(self.folders | set(self.sessions))
        ]

    async def last_words(self, session_id: str, node_id: str | None) -> Collected | None:
        """Return what a test has put there."""
        await self._enter("last_words")
        return self.words.get(session_id)

    async def problems(self) -> Sequence[str]:
        """Find none."""
        return ()

    async def ping(self) -> None:
        """Answer."""
        await self._enter("ping")


def _info(path: str, data: bytes) -> FileInfo:
    return FileInfo(path, path, FileKind.FILE, len(data), 0.0, version=str(hash(data)))


def a_package(name: str) -> InstalledPackage:
    """Return what an installation of this name leaves."""
    return InstalledPackage(name, "1")
