"""One sandbox's session on its node: a queue of executions, files, packages, statistics.

No Ray in here: the actor is a thin wrapper around this.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection
from contextlib import suppress

from services.executor import incoming, verdicts
from services.executor.errors import (
    NotWaitingError,
    QueueFullError,
    SessionGoneError,
)
from services.executor.execution import Execution
from services.executor.interpreter import frames
from services.executor.messages import (
    Collected,
    EventBatch,
    ExecuteRequest,
    ExecutionKind,
    ExecutionRecord,
    InstalledPackage,
    InstallRequest,
    SessionSpec,
    SessionState,
)
from services.executor.packages import SessionPackages
from services.executor.registry import Registry
from services.executor.runner import Runner, Setup
from services.executor.supervision import Container
from services.executor.verdicts import Verdict

logger = logging.getLogger(__name__)

FIRST_EVENTS_BYTES = 256 * 1024
LINGER_SECONDS = 0.025
"""How long ends wait for others, so that one transaction records what came in quick succession."""
ADDRESS_SPACE_BYTES = 1400 * 1024 * 1024


class Session:
    """All that one session does; single-threaded, for one event loop."""

    def __init__(self, spec: SessionSpec, container: Container, packages: SessionPackages) -> None:
        """Serve a container; `start` brings it up."""
        self.spec = spec
        self.created_at = time.time()
        self.last_active_at = self.created_at
        self.stopped_reason: str | None = None
        self.failed = False
        self._registry = Registry()
        self._queue: deque[tuple[Execution, ExecuteRequest, bool]] = deque()
        self._current: Execution | None = None
        self._packages = packages
        self._installs: set[asyncio.Task[None]] = set()
        self._runner = Runner(
            container,
            Setup(spec.environment, _rlimits(spec), spec.limits.memory_bytes),
            self._install_for_code,
        )
        self._runner.late = self._registry.changed
        self._worker: asyncio.Task[None] | None = None

    @property
    def execution_count(self) -> int:
        """How many executions there have been, installations and tools included."""
        return self._registry.count

    @property
    def runner(self) -> Runner:
        """The interpreter's owner, for questions about the inside."""
        return self._runner

    @property
    def busy(self) -> bool:
        """Whether anything is queued, running or being installed."""
        return bool(self._current or self._queue or self._installs)

    async def start(self) -> None:
        """Bring container and interpreter up. Raises `SandboxStartError`."""
        await self._runner.supervision.ensure()
        self.touch()

    def touch(self) -> None:
        """Note an operation: idleness counts from the end of the last."""
        self.last_active_at = time.time()

    def _require_open(self) -> None:
        if self.stopped_reason is not None:
            msg = f"The session is over: {self.stopped_reason}."
            raise SessionGoneError(msg)

    # Executions.

    async def execute(self, request: ExecuteRequest, *, shell: bool = False) -> EventBatch:
        """Queue code, or attach where the id is known; return the first events."""
        execution = self._registry.find(request.execution_id, on_record=request.on_record)
        if execution is None:
            execution = self.enqueue(request, shell=shell)
        return await _first_events(execution, request.reader_id)

    def enqueue(self, request: ExecuteRequest, *, shell: bool = False) -> Execution:
        """Queue code to run. Raises `QueueFullError`, `SessionGoneError`."""
        self._require_open()
        _require_place(len(self._queue), self.spec.limits.queue_length)
        execution = Execution(request.execution_id, request.kind)
        self._registry.add(execution, on_record=request.on_record)
        execution.log.expect(request.reader_id)
        current = self._current
        # One that has ended keeps the next waiting for an interpreter, but is not before it.
        running = current is not None and not current.ended.is_set()
        execution.queue(len(self._queue) + running)
        self._queue.append((execution, request, shell))
        if self._worker is None or self._worker.done():
            # Begun at once, for each turn of the loop is a tenth of the way to the first output.
            loop = asyncio.get_running_loop()
            self._worker = asyncio.Task(self._work(), loop=loop, name="queue", eager_start=True)
        return execution

    async def _work(self) -> None:
        """Run what is queued, first in, first out."""
        while self._queue:
            execution, request, shell = self._queue.popleft()
            self._current = execution
            try:
                await self._runner.run(execution, request, shell=shell)
            except asyncio.CancelledError:
                execution.finish(self._stopped_verdict())
                raise
            except Exception:
                logger.exception("execution %s failed on our side", execution.id)
                execution.finish(verdicts.lost("a fault of the service, told in its log"))
            finally:
                self._current = None
                self._ended(execution)

    def _ended(self, execution: Execution) -> None:
        self.touch()
        self._registry.ended(execution)

    async def read(
        self, execution_id: str, after: int, max_bytes: int, wait_seconds: float, reader_id: str
    ) -> EventBatch:
        """Wait for events. Raises `UnknownExecutionError`."""
        execution = self._registry.get(execution_id)
        return await execution.read(after, max_bytes, wait_seconds, reader_id)

    def leave(self, execution_id: str, reader_id: str) -> None:
        """Forget a reader."""
        execution = self._registry.find(execution_id)
        if execution is not None:
            execution.log.leave(reader_id)

    def record(self, execution_id: str) -> ExecutionRecord:
        """Return an execution as it is now. Raises `UnknownExecutionError`."""
        return self._registry.get(execution_id).record()

    async def wait_ended(self, execution_id: str, seconds: float) -> ExecutionRecord:
        """Return an execution once it has ended, or as it is after `seconds`."""
        execution = self._registry.get(execution_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await execution.ended.wait()
        return execution.record()

    async def interrupt(self, execution_id: str) -> ExecutionRecord:
        """Interrupt it, or take it off the queue; one that has ended stays as it is."""
        execution = self._registry.get(execution_id)
        if not execution.ended.is_set():
            self._runner.interrupt(execution)
            for waiting in list(self._queue):
                if waiting[0] is execution:
                    self._queue.remove(waiting)
                    execution.finish(verdicts.interrupted(restarted=False))
                    self._ended(execution)
        return execution.record()

    def provide_input(self, execution_id: str, input_seq: int, text: str) -> ExecutionRecord:
        """Answer an open question. Raises `NotWaitingError`."""
        execution = self._registry.get(execution_id)
        number = execution.answer(input_seq)
        if number is None:
            msg = "The execution does not wait for this input (any more)."
            raise NotWaitingError(msg, status=execution.status)
        self._runner.answer(number, text)
        return execution.record()

    async def restart(self) -> None:
        """Clear the interpreter's state; what is queued or runs ends INTERRUPTED."""
        self._require_open()
        self._clear_queue(verdicts.interrupted(restarted=True))
        current = self._current
        await self._runner.restart()
        if current is not None:
            await current.ended.wait()
        self.touch()

    def _stopped_verdict(self) -> Verdict:
        return verdicts.lost(self.stopped_reason or "it was stopped", name="SandboxStopped")

    def _clear_queue(self, verdict: Verdict) -> None:
        while self._queue:
            execution, _, _ = self._queue.popleft()
            execution.finish(verdict)
            self._ended(execution)

    # Packages.

    async def install(self, request: InstallRequest) -> EventBatch:
        """Begin an installation, or attach; it does not wait for running code."""
        execution = self._registry.find(request.execution_id)
        if execution is None:
            self._require_open()
            self._packages.check(request.requirements)
            _require_place(len(self._installs), self.spec.limits.queue_length)
            execution = Execution(request.execution_id, ExecutionKind.INSTALL)
            self._registry.add(execution)
            execution.log.expect(request.reader_id)
            execution.queue(len(self._installs))
            task = asyncio.create_task(self._run_install(execution, request))
            self._installs.add(task)
            task.add_done_callback(self._installs.discard)
        return await _first_events(execution, request.reader_id)

    async def _run_install(self, execution: Execution, request: InstallRequest) -> None:
        verdict = verdicts.lost("a fault of the service, told in its log")
        try:
            verdict = await self._packages.run(
                execution, request.requirements, upgrade=request.upgrade, survey=self._survey
            )
        except asyncio.CancelledError:
            verdict = self._stopped_verdict()
        except Exception:
            logger.exception("installation %s failed on our side", execution.id)
        finally:
            self._runner.packages_version = self._packages.version
            execution.finish(verdict)
            self._ended(execution)

    async def _install_for_code(self, execution: Execution, wish: incoming.Install) -> str | None:
        failure = await self._packages.run_for_code(execution, wish, survey=self._survey)
        self._runner.packages_version = self._packages.version
        self._registry.news.set()
        return failure

    async def _survey(self) -> dict[str, object]:
        """Ask the inside for its Python, its platform and the image's packages."""
        hello = dict(self._runner.supervision.hello)
        return hello | await self._runner.ask(frames.SURVEY, frames.SURVEYED, 20.0)

    # The recorder.

    async def collect(
        self, acknowledged: Collection[str], packages_version: int, wait_seconds: float
    ) -> Collected:
        """Forget what is recorded and wait for something new to record."""
        self._registry.acknowledge(acknowledged)
        collected = self._collected(packages_version)
        if wait_seconds <= 0 or collected.stopped_reason is not None:
            return collected
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                while not _is_news(collected):
                    self._registry.news.clear()
                    await self._registry.news.wait()
                    collected = self._collected(packages_version)
        if self.stopped_reason is None:
            await asyncio.sleep(LINGER_SECONDS)
        return self._collected(packages_version)

    def _collected(self, packages_version: int) -> Collected:
        packages: tuple[InstalledPackage, ...] | None = None
        if self._packages.version > packages_version:
            packages = self._packages.installed
        return Collected(
            session_id=self.spec.session_id,
            ended=self._registry.unrecorded(),
            packages=packages,
            packages_version=self._packages.version,
            last_active_at=time.time() if self.busy else self.last_active_at,
            busy=self.busy,
            stopped_reason=self.stopped_reason,
            failed=self.failed,
        )

    def state(self) -> SessionState:
        """Say what it has and does now; what is unrecorded stays the recorder's."""
        last_active_at = time.time() if self.busy else self.last_active_at
        return SessionState(self._packages.installed, last_active_at, self.busy)

    async def stop(self, reason: str) -> tuple[ExecutionRecord, ...]:
        """End everything that runs inside; return all that is unrecorded. Idempotent."""
        if self.stopped_reason is None:
            self.stopped_reason = reason
        verdict = self._stopped_verdict()
        self._clear_queue(verdict)
        self._runner.conclude(verdict)
        for task in list(self._installs):
            task.cancel()
        await asyncio.gather(*self._installs, return_exceptions=True)
        current = self._current
        if current is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await current.ended.wait()
        await self._runner.aclose()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None
        self._registry.news.set()
        return self._registry.all_unrecorded()

    async def recorded(self, seconds: float) -> bool:
        """Wait until a recorder has everything, at most `seconds`; say whether it has."""
        deadline = time.monotonic() + seconds
        while self._registry.all_unrecorded():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True


def _require_place(taken: int, limit: int) -> None:
    if taken >= limit:
        msg = f"{limit} executions are queued already: wait for one to end."
        raise QueueFullError(msg, limit=limit)


async def _first_events(execution: Execution, reader_id: str) -> EventBatch:
    """Tell what there is at once: whoever wants more reads on while this is shown."""
    return await execution.read(0, FIRST_EVENTS_BYTES, 0, reader_id)


def _is_news(collected: Collected) -> bool:
    told = collected.stopped_reason is not None or collected.packages is not None
    return told or bool(collected.ended)


def _rlimits(spec: SessionSpec) -> dict[str, int]:
    return {
        "RLIMIT_AS": ADDRESS_SPACE_BYTES,
        "RLIMIT_NPROC": spec.limits.processes,
        "RLIMIT_FSIZE": spec.limits.disk_bytes,
        "RLIMIT_CORE": 0,
    }
