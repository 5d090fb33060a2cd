"""Runs code in the sandbox, one execution at a time, to one of its possible ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from services.executor import incoming, verdicts
from services.executor.errors import ExecutorError, SandboxSilentError
from services.executor.execution import Execution, TooManyQuestionsError
from services.executor.interpreter import frames
from services.executor.messages import (
    CodeError,
    ExecuteRequest,
    ExecutionStatus,
    OutputStream,
)
from services.executor.supervision import Container, Supervision
from services.executor.verdicts import OUT_OF_MEMORY, Verdict

logger = logging.getLogger(__name__)

INTERRUPT_GRACE_SECONDS = 2.0
MEMORY_SECONDS = 0.5
MEMORY_LOOKS = 3
FORGIVE_SECONDS = 0.005
MEMORY_SHARE = 0.95
INSTALLS_AT_ONCE = 4
INSTALLS = 20
"""By one execution, for their time does not count against its limit."""
TOO_MANY_INSTALLS = "Too many installations in one execution: install more at once, or later."

InstallPackages = Callable[[Execution, incoming.Install], Awaitable[str | None]]
"""Installs for running code, its output going to that execution; returns what failed."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What each interpreter of a session is started with."""

    environment: dict[str, str]
    rlimits: dict[str, int]
    memory_bytes: int


class Runner:
    """Owns the interpreter; takes its frames for the execution that runs."""

    def __init__(self, container: Container, setup: Setup, install: InstallPackages) -> None:
        """Run in this container; nothing is started yet."""
        payload: frames.Payload = asdict(setup)
        self._container = container
        self._memory_bytes = setup.memory_bytes
        self.supervision = Supervision(container, self, lambda: payload)
        self.packages_version = 0
        self.late: Callable[[Execution], None] = lambda _execution: None
        """Told of output that came after its execution had ended."""
        self._install = install
        self._current: Execution | None = None
        self._last: Execution | None = None
        self._run = 0
        self._generation: int | None = None
        """Of the interpreter that holds the code's state; None while there is none to lose."""
        self._unstartable = False
        """Whether an interpreter ended before it took the execution that runs."""
        self._verdict: asyncio.Future[Verdict] | None = None
        self._poked: asyncio.Future[None] | None = None
        self._answers: dict[int, asyncio.Future[frames.Payload]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, execution: Execution, request: ExecuteRequest, *, shell: bool) -> None:
        """Run to the end; every end is told to the execution, none is raised."""
        ending = self._verdict = asyncio.get_running_loop().create_future()
        try:
            await self.supervision.ensure()
        except ExecutorError as error:
            self.conclude(verdicts.lost(error.message.rstrip("."), name="SandboxNotStarted"))
        if ending.done():
            # Ended before it began, by a stop perhaps: its code is not to run any more.
            execution.finish(ending.result())
            return
        self._run += 1
        # Before all else, for the sandbox has the longest way to go.
        self.supervision.send(
            frames.EXECUTE,
            {
                "run": self._run,
                "code": request.code,
                "environment": request.environment,
                "shell": shell,
                "packages": self.packages_version,
            },
        )
        self._current = execution
        execution.start()
        watch = asyncio.create_task(self._watch_memory(), name="memory")
        try:
            verdict = await self._await_verdict(execution, ending, request.timeout_seconds)
        finally:
            watch.cancel()
            self._current, self._last = None, execution
        execution.finish(verdict)
        if self._unstartable:
            # Code may have lowered what its supervisor may use: only another container heals that.
            self._unstartable = False
            await self.supervision.discard()
        await self._revive()

    async def _watch_memory(self) -> None:
        """End code that stays at the memory limit: it thrashes, to the neighbours' harm.

        So does code that had something killed for it: gVisor may hang after that.
        """
        limit = self._memory_bytes * MEMORY_SHARE
        full = 0
        clock = asyncio.get_running_loop().time
        began = clock()
        # Not before: quick code is not to wait for it.
        await asyncio.sleep(FORGIVE_SECONDS)
        if clock() - began < 10 * FORGIVE_SECONDS:
            # So soon no code has used up its memory: what was ended until now is not its fault.
            self._container.forgive_memory()
        while full < MEMORY_LOOKS:
            await asyncio.sleep(MEMORY_SECONDS)
            if await asyncio.to_thread(self._container.ran_out_of_memory):
                break
            used = await asyncio.to_thread(self._container.memory_in_use)
            full = full + 1 if used > limit else 0
        await self.end_all(verdicts.lost(OUT_OF_MEMORY, name="OutOfMemory"))

    async def end_all(self, verdict: Verdict) -> None:
        """End every process of the sandbox, and with this verdict what runs."""
        if self._current is not None:
            self._current.log.hurry()
        await self.supervision.replace()
        self.conclude(verdict)

    async def _revive(self) -> None:
        """Have an interpreter ready for the next execution, which tells where that fails."""
        try:
            await self.supervision.ensure()
        except ExecutorError as error:
            logger.warning("no interpreter after an execution: %s", error)

    async def _await_verdict(
        self, execution: Execution, verdict: asyncio.Future[Verdict], limit: float
    ) -> Verdict:
        """Wait for the end, at the latest for the limit of time or an interrupt's grace."""
        interrupted_at: float | None = None
        while True:
            self._poked = asyncio.get_running_loop().create_future()
            left = _seconds_left(execution, limit)
            if execution.interrupted:
                if interrupted_at is None:
                    interrupted_at = execution.unblocked.seconds
                    self.supervision.send(frames.INTERRUPT, {"run": self._run})
                since = execution.unblocked.seconds - interrupted_at
                left = min(left, INTERRUPT_GRACE_SECONDS - since)
            if left <= 0:
                return await self._end(execution, interrupted=interrupted_at is not None)
            wanted: set[asyncio.Future[Any]] = {verdict, self._poked}
            await asyncio.wait(
                wanted, timeout=max(left, 0.001), return_when=asyncio.FIRST_COMPLETED
            )
            if verdict.done():
                return verdict.result()

    def _poke(self) -> None:
        """Have whoever waits for the end look again how long there is to wait."""
        if self._poked is not None and not self._poked.done():
            self._poked.set_result(None)

    def interrupt(self, execution: Execution) -> None:
        """Raise KeyboardInterrupt in the execution, once it runs; end it after a grace."""
        execution.interrupted = True
        if execution is self._current:
            self._poke()

    async def _end(self, execution: Execution, *, interrupted: bool) -> Verdict:
        """Code does not end by itself: end every process of the sandbox."""
        execution.log.hurry()
        await self.supervision.replace()
        self._generation = None
        if interrupted:
            return verdicts.interrupted(restarted=True)
        unanswered = execution.unanswered_seconds
        if unanswered is not None:
            return verdicts.ignored(unanswered)
        return verdicts.timed_out(execution.stopwatch.seconds)

    def conclude(self, verdict: Verdict) -> bool:
        """End what runs now with this verdict; False where nothing does."""
        if self._verdict is None or self._verdict.done():
            return False
        if self._current is not None:
            self._current.log.hurry()
        self._verdict.set_result(verdict)
        self._generation = None
        return True

    async def restart(self) -> None:
        """Have a fresh interpreter; what runs ends INTERRUPTED."""
        await self.end_all(verdicts.interrupted(restarted=True))
        self._generation = None
        await self.supervision.ensure()

    def answer(self, number: int, text: str) -> None:
        """Answer a question of the execution that runs, by the code's number of it."""
        self.supervision.send(frames.INPUT, {"number": number, "text": text})
        self._poke()

    async def ask(self, command: int, reply: int, seconds: float) -> frames.Payload:
        """Ask the supervisor something, bringing one up where there is none.

        Raises `SandboxStartError`, `SandboxSilentError`.
        """
        await self.supervision.ensure()
        future = self._answers.get(reply)
        if future is None:
            future = self._answers[reply] = asyncio.get_running_loop().create_future()
            self.supervision.send(command, {})
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            # The next who asks sends the question anew.
            self._answers.pop(reply, None)
            msg = f"The sandbox did not answer within {seconds:.0f} s: try again, or restart it."
            raise SandboxSilentError(msg) from None

    async def on_frame(self, kind: int, body: bytes) -> None:
        """Take one frame; waits while the execution's readers have to catch up."""
        if kind in self._answers:
            future = self._answers.pop(kind)
            if not future.done():
                future.set_result(incoming.read(kind, body))
            return
        execution = self._current or self._last
        if execution is None:
            return
        if kind == frames.OUTPUT:
            stream = OutputStream.STDOUT if body[:1] == b"\x01" else OutputStream.STDERR
            execution.output(stream, body[1:])
        elif kind == frames.DISPLAY:
            execution.display(incoming.display(body), incoming.weigh(body))
        elif kind == frames.DIED:
            await self._on_died(incoming.death(incoming.read(kind, body)))
        elif execution is self._current:
            self._on_control(execution, kind, incoming.read(kind, body))
        if execution is self._current:
            await self._wait_for_readers(execution)
        elif kind in (frames.OUTPUT, frames.DISPLAY):
            self.late(execution)

    async def _wait_for_readers(self, execution: Execution) -> None:
        execution.stopwatch.pause()
        execution.unblocked.pause()
        try:
            await execution.log.writable()
        finally:
            execution.stopwatch.resume()
            execution.unblocked.resume()

    def _on_control(self, execution: Execution, kind: int, payload: frames.Payload) -> None:
        if kind == frames.DONE:
            self._on_done(execution, incoming.done(payload))
        elif kind == frames.ERROR:
            execution.fail(incoming.error(payload))
        elif kind == frames.CLEAR:
            execution.clear(wait=payload.get("wait") is True)
        elif kind == frames.ASK:
            self._on_ask(execution, incoming.ask(payload))
        elif kind == frames.WITHDRAWN:
            execution.withdraw(incoming.withdrawn(payload))
            self._poke()
        elif kind == frames.INSTALL and len(self._tasks) < INSTALLS:
            task = asyncio.create_task(self._on_install(execution, incoming.install(payload)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _on_ask(self, execution: Execution, question: incoming.Ask) -> None:
        try:
            execution.ask(question)
        except TooManyQuestionsError as error:
            refusal = {"number": question.number, "refused": str(error)}
            self.supervision.send(frames.INPUT, refusal)
        # The time that questions may wait counts from now on, and is shorter than the code's.
        self._poke()

    def _on_done(self, execution: Execution, done: incoming.Done) -> None:
        if done.run != self._run:
            return
        execution.execution_count = done.execution_count
        self._unstartable = done.raised == frames.NOT_STARTED
        status = ExecutionStatus.FAILED if done.exit_code else ExecutionStatus.SUCCEEDED
        error = execution.error
        if execution.interrupted and done.raised == "KeyboardInterrupt":
            status = ExecutionStatus.INTERRUPTED
        elif done.exit_code and error is None:
            error = CodeError("SystemExit", str(done.exit_code), "")
        if self._verdict is not None and not self._verdict.done():
            before, self._generation = self._generation, self.supervision.generation
            restarted = before not in {None, self._generation}
            self._verdict.set_result(Verdict(status, done.exit_code, error, restarted))

    async def _on_died(self, death: incoming.Death) -> None:
        if self._current is None or death.run != self._run:
            # Between executions, or as this one was under way: it runs in the next interpreter.
            return
        if await asyncio.to_thread(self._container.ran_out_of_memory):
            self.conclude(verdicts.lost(OUT_OF_MEMORY, name="OutOfMemory"))
        else:
            self.conclude(verdicts.died(death.exit_code))

    async def _on_install(self, execution: Execution, wish: incoming.Install) -> None:
        failure: str | None = TOO_MANY_INSTALLS
        if len(self._tasks) <= INSTALLS_AT_ONCE and execution.installs < INSTALLS:
            execution.installs += 1
            execution.stopwatch.pause()
            try:
                failure = await self._install(execution, wish)
            except Exception:
                logger.exception("an installation by %s failed on our side", execution.id)
                failure = "a fault of the service, told in its log"
            finally:
                execution.stopwatch.resume()
        self.supervision.send(
            frames.INSTALLED,
            {"number": wish.number, "ok": failure is None, "message": failure or ""},
        )

    def on_death(self, reason: str) -> None:
        """The stream ended by itself: what ran is lost."""
        logger.warning("the sandbox died: %s", reason)
        silent = SandboxSilentError("The sandbox ended before it answered: try again.")
        for future in self._answers.values():
            if not future.done():
                future.set_exception(silent)
                # Whoever asked may have gone.
                future.exception()
        self._answers.clear()
        if self._current is not None:
            self.conclude(verdicts.lost(reason))

    async def aclose(self) -> None:
        """End the interpreter and whatever waits for it; idempotent."""
        for task in list(self._tasks):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.supervision.aclose()


def _seconds_left(execution: Execution, limit: float) -> float:
    """Say how long the code may go on, or, where it asks, how long it may wait for the answer."""
    unanswered = execution.unanswered_seconds
    return limit - (execution.stopwatch.seconds if unanswered is None else unanswered)
