"""Sessions on the real stack, driven as the services drive them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from services.executor.client import RayExecutor
from services.executor.messages import (
    CodeError,
    Display,
    Event,
    EventBatch,
    ExecuteRequest,
    ExecutionRecord,
    ExecutionStatus,
    Finished,
    Gap,
    Output,
    OutputStream,
    SessionLimits,
    SessionSpec,
)
from tests.support.stack import Stack, docker

END_SECONDS = 90.0
"""How long anything may take before a test gives up on it."""
BUSY = "print('up', flush=True)\nwhile True: pass"
"""Code that runs until it is ended, once it has said so."""


@dataclass(frozen=True)
class Run:
    """An execution from its first event to its last."""

    events: tuple[Event, ...]

    @property
    def finished(self) -> Finished:
        """The last event."""
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last

    @property
    def status(self) -> ExecutionStatus:
        """How it ended."""
        return self.finished.status

    @property
    def stdout(self) -> str:
        """All that was written to standard output."""
        return self._text(OutputStream.STDOUT)

    @property
    def stderr(self) -> str:
        """All that was written to standard error."""
        return self._text(OutputStream.STDERR)

    def _text(self, stream: OutputStream) -> str:
        return "".join(
            event.text
            for event in self.events
            if isinstance(event, Output) and event.stream is stream
        )

    @property
    def result(self) -> object:
        """The last expression's value as text."""
        [value] = [
            event.data.bundle["text/plain"]
            for event in self.events
            if isinstance(event, Display) and event.data.is_result
        ]
        return value

    @property
    def error(self) -> CodeError:
        """The one exception that was told."""
        [error] = [event.error for event in self.events if hasattr(event, "error")]
        assert isinstance(error, CodeError)
        return error

    @property
    def dropped(self) -> int:
        """Bytes in gaps."""
        return sum(event.dropped_bytes for event in self.events if isinstance(event, Gap))

    def succeeded(self) -> "Run":
        """Check that it did."""
        assert self.status is ExecutionStatus.SUCCEEDED, self.events
        return self


@dataclass
class Desk:
    """One session, and somebody who runs code in it."""

    executor: RayExecutor
    spec: SessionSpec

    @property
    def id(self) -> str:
        """The session's id."""
        return self.spec.session_id

    @property
    def container(self) -> str:
        """The container's name, as ray-agents makes it."""
        return f"ray-code-{self.id}"

    async def submit(
        self,
        code: str,
        *,
        timeout_seconds: float = 30.0,
        environment: Mapping[str, str] | None = None,
        reader_id: str = "",
    ) -> str:
        """Queue code and return the execution's id."""
        execution_id = str(uuid.uuid4())
        await self.executor.execute(
            self.id,
            ExecuteRequest(
                execution_id, code, timeout_seconds, dict(environment or {}), reader_id=reader_id
            ),
        )
        return execution_id

    async def run(self, code: str, **request: Any) -> Run:  # noqa: ANN401 # as `submit` takes
        """Run code to its end, reading along."""
        execution_id = await self.submit(code, reader_id="desk", **request)
        return await self.follow(execution_id, reader_id="desk")

    async def follow(self, execution_id: str, *, reader_id: str = "", after: int = 0) -> Run:
        """Read an execution's events to the last."""
        events: list[Event] = []
        async with asyncio.timeout(END_SECONDS):
            while True:
                batch: EventBatch = await self.executor.read(
                    self.id, execution_id, after, reader_id=reader_id
                )
                events += batch.events
                if batch.ended:
                    return Run(tuple(events))
                after = batch.events[-1].seq if batch.events else after

    async def until(
        self, execution_id: str, wanted: Callable[[Event], bool], after: int = 0
    ) -> Event:
        """Read an execution's events until one is wanted."""
        async with asyncio.timeout(END_SECONDS):
            while True:
                batch = await self.executor.read(self.id, execution_id, after)
                for event in batch.events:
                    if wanted(event):
                        return event
                assert not batch.ended, batch
                after = batch.events[-1].seq if batch.events else after

    async def until_printed(self, execution_id: str, text: str) -> None:
        """Wait until code has printed something."""
        await self.until(
            execution_id, lambda event: isinstance(event, Output) and text in event.text
        )

    async def ended(self, execution_id: str) -> ExecutionRecord:
        """Wait for an execution's end without reading its events."""
        async with asyncio.timeout(END_SECONDS):
            return await self.executor.wait_ended(self.id, execution_id)

    async def recorded(self) -> list[ExecutionRecord]:
        """Take all that a recorder would, saying that it has it."""
        records: list[ExecutionRecord] = []
        batch: tuple[ExecutionRecord, ...] = ()
        while True:
            acknowledged = [record.execution_id for record in batch]
            collected = await self.executor.collect(self.id, acknowledged, 0, wait_seconds=0)
            batch = collected.ended
            if not batch:
                return records
            records += batch

    async def value(self, expression: str) -> object:
        """Return what an expression shows as text, which proves that the session works."""
        run = await self.run(expression)
        return run.succeeded().result

    async def processes(self) -> int:
        """Count the processes of the sandbox, from outside of its code."""
        return (await self.executor.stats(self.id)).processes

    def inspect(self, template: str) -> str:
        """Ask Docker about the container."""
        return docker("inspect", "--format", template, self.container).strip()


@dataclass
class Lab:
    """Makes sessions for tests, and sees that nothing is left of them."""

    stack: Stack
    executor: RayExecutor
    desks: list[Desk] = field(default_factory=list)

    def spec(self, **changes: Any) -> SessionSpec:  # noqa: ANN401 # of several types
        """Describe a session as the services would."""
        instance = sibling(self.stack)
        spec = SessionSpec(
            session_id=f"{instance}-{uuid.uuid4().hex}",
            instance=instance,
            sandbox_id=str(uuid.uuid4()),
            owner_id=str(uuid.uuid4()),
            image=self.stack.state("node")["image"],
            environment={},
            limits=SessionLimits(),
            node_data_dir=str(self.stack.layout.data_dir),
        )
        return replace(spec, **changes)

    def desk(self, **changes: Any) -> Desk:  # noqa: ANN401 # as `spec` takes
        """Describe a session that `clear` takes away, whoever starts it."""
        desk = Desk(self.executor, self.spec(**changes))
        self.desks.append(desk)
        return desk

    async def start(self, **changes: Any) -> Desk:  # noqa: ANN401 # as `spec` takes
        """Start a session."""
        desk = self.desk(**changes)
        await self.executor.start(desk.spec)
        return desk

    async def clear(self) -> None:
        """Destroy the sessions made here and check that nothing is left of any."""
        desks, self.desks = self.desks, []
        for desk in desks:
            await self.executor.destroy(desk.id, None)
        ours = {desk.id for desk in desks}
        left = [trace for trace in await self.executor.inventory() if trace.session_id in ours]
        mounts = Path("/proc/self/mounts").read_text()
        folders = self.stack.layout.data_dir / "sandboxes"

        assert not left
        for session_id in ours:
            label = f"label=sandbox-api.session={session_id}"
            assert not docker("ps", "--all", "--quiet", "--filter", label)
            assert session_id not in mounts
            assert not (folders / session_id).exists()


def sibling(stack: Stack) -> str:
    """Name an instance beside the stack's: its API would clear away sessions that no row names."""
    return f"{int(stack.instance, 16) ^ 1:08x}"


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = END_SECONDS) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 # the condition is in another process
            await asyncio.sleep(0.02)


async def works_again(desk: Desk, resting: int) -> None:
    """Check that the next execution runs, and that nothing of an earlier one does."""
    assert await desk.value("6 * 7") == "42"
    assert await desk.processes() <= resting


def in_plain_words(run: Run) -> str:
    """Check that a run which did not succeed says why in a sentence, and return it."""
    failures = (ExecutionStatus.LOST, ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT)
    assert run.status in failures, run.events
    text = run.error.value or run.error.name
    assert text
    assert "Traceback" not in text
    return text
