"""One execution as its session holds it: its events for readers, its record for history."""

import asyncio
import time

from services.executor.incoming import Ask
from services.executor.log import EventLog
from services.executor.messages import (
    Cleared,
    CodeError,
    Display,
    DisplayData,
    Errored,
    EventBatch,
    ExecutionKind,
    ExecutionRecord,
    ExecutionStatus,
    Finished,
    InputRequested,
    OutputStream,
    Queued,
    Started,
)
from services.executor.stopwatch import Stopwatch
from services.executor.transcript import Decoder, HeadTail, Results
from services.executor.verdicts import Verdict

MOST_CLEARS = 10_000
MOST_QUESTIONS = 64
"""Open at once, by as many threads."""
MOST_ASKED = 1_000
MOST_PROMPT_CHARACTERS = 64 * 1024
"""Of one execution's questions, which are never dropped."""


class TooManyQuestionsError(Exception):
    """The code is not to wait for an answer; the message says why."""


class Execution:
    """Collects what an execution tells; ends exactly once."""

    def __init__(self, execution_id: str, kind: ExecutionKind) -> None:
        """Begin QUEUED."""
        self.id = execution_id
        self.kind = kind
        self.log = EventLog()
        self.stopwatch = Stopwatch()
        """The code's own time: waiting for readers, answers or installations is none of it."""
        self.unblocked = Stopwatch()
        """Time in which what the code says is taken: waiting for readers is none of it."""
        self.status = ExecutionStatus.QUEUED
        self.ended = asyncio.Event()
        self.changes = 0
        """Grows with each change of an ended record, so that it is recorded again."""
        self.recordings = 0
        """How often it was put off to be recorded again."""
        self._questions: dict[int, int] = {}
        """The code's own numbers of open ones, by their events' numbers."""
        self._asked = 0
        self._prompt_characters = 0
        self._waited = 0.0
        self._waiting_since = 0.0
        self.interrupted = False
        self.installs = 0
        """Installations that its code has asked for."""
        self.execution_count: int | None = None
        self._created_at = time.time()
        self._started_at: float | None = None
        self._finished_at: float | None = None
        self._duration_ms: float | None = None
        self._verdict: Verdict | None = None
        self._error: CodeError | None = None
        self._texts = {stream: HeadTail() for stream in OutputStream}
        self._decoders = {stream: Decoder() for stream in OutputStream}
        self._results = Results()
        self._clears = 0
        self._cleared_at = -1

    def queue(self, position: int) -> None:
        """Say how many are before it."""
        self.log.add(lambda seq, at: Queued(seq, at, position))

    def start(self) -> None:
        """Say that the code begins to run."""
        self.status = ExecutionStatus.RUNNING
        self._started_at = time.time()
        self.stopwatch.start()
        self.unblocked.start()
        self.log.add(Started)

    def output(self, stream: OutputStream, data: bytes) -> None:
        """Take bytes of one stream; after the end they go to the record alone."""
        self._text(stream, self._decoders[stream].feed(data))

    def _text(self, stream: OutputStream, text: str) -> None:
        if not text:
            return
        self._texts[stream].add(text)
        if self.ended.is_set():
            self.changes += 1
        else:
            self.log.output(stream, text)

    def display(self, data: DisplayData, size: int) -> None:
        """Take a value or a figure."""
        self._results.add(data, size)
        if self.ended.is_set():
            self.changes += 1
        else:
            self.log.add(lambda seq, at: Display(seq, at, data), size)

    def clear(self, *, wait: bool) -> None:
        """Take the wish to clear what was shown; nothing is cleared twice.

        Over `MOST_CLEARS` an execution's wishes are passed over, since they are never dropped.
        """
        if self.ended.is_set() or self._clears >= MOST_CLEARS:
            return
        if not self.log.untouched_since(self._cleared_at):
            self._clears += 1
            self._cleared_at = self.log.add(lambda seq, at: Cleared(seq, at, wait)).seq

    def ask(self, question: Ask) -> None:
        """Take a question; while one is open, the code's time does not count.

        Raises `TooManyQuestionsError`.
        """
        if len(self._questions) >= MOST_QUESTIONS:
            raise TooManyQuestionsError(f"{MOST_QUESTIONS} questions are open already")
        self._asked += 1
        self._prompt_characters += len(question.prompt)
        if self._asked > MOST_ASKED or self._prompt_characters > MOST_PROMPT_CHARACTERS:
            raise TooManyQuestionsError("this execution has asked too much already")
        event = self.log.add(
            lambda seq, at: InputRequested(seq, at, question.prompt, question.password)
        )
        if not self._questions:
            self.stopwatch.pause()
            self._waiting_since = time.monotonic()
        self._questions[event.seq] = question.number

    def answer(self, seq: int) -> int | None:
        """Take note of an answer; return the code's own number, None where none is open."""
        if seq not in self._questions:
            return None
        number = self._close(seq)
        # Whoever answers once is there: what is still open may wait as long again.
        self._waited, self._waiting_since = 0.0, time.monotonic()
        return number

    def withdraw(self, number: int) -> None:
        """Take note that the code does not wait any more for what it asked by this number."""
        for seq, known in list(self._questions.items()):
            if known == number:
                self._close(seq)

    def _close(self, seq: int) -> int:
        number = self._questions.pop(seq)
        if not self._questions:
            self.stopwatch.resume()
            self._waited += time.monotonic() - self._waiting_since
        return number

    @property
    def unanswered_seconds(self) -> float | None:
        """How long questions have waited since the last answer, withdrawn ones included.

        None where none is open.
        """
        if not self._questions:
            return None
        return self._waited + time.monotonic() - self._waiting_since

    def fail(self, error: CodeError) -> None:
        """Take the exception that the code raised; the end follows."""
        self._error = error

    def finish(self, verdict: Verdict) -> None:
        """End it; later calls are without effect."""
        if self.ended.is_set():
            return
        for stream, decoder in self._decoders.items():
            self._text(stream, decoder.finish())
        error = verdict.error or self._error
        if error is not None and verdict.status is not ExecutionStatus.SUCCEEDED:
            self._error = error
            self.log.add(lambda seq, at: Errored(seq, at, error))
        else:
            self._error = None
        self._verdict = verdict
        self.status = verdict.status
        self._questions.clear()
        self._finished_at = time.time()
        self._duration_ms = self.stopwatch.elapsed * 1000
        duration = self._duration_ms
        self.log.add(
            lambda seq, at: Finished(
                seq,
                at,
                verdict.status,
                verdict.exit_code,
                duration,
                verdict.interpreter_restarted,
            )
        )
        self.log.hurry()
        self.ended.set()

    @property
    def weight(self) -> int:
        """Bytes that the record takes, about."""
        error = self._error
        said = 0 if error is None else len(error.value) + len(error.traceback)
        return sum(text.weight for text in self._texts.values()) + self._results.weight + said

    @property
    def error(self) -> CodeError | None:
        """The exception taken so far."""
        return self._error

    def record(self) -> ExecutionRecord:
        """Return the execution as it is now."""
        verdict = self._verdict
        truncated = any(text.truncated for text in self._texts.values())
        return ExecutionRecord(
            execution_id=self.id,
            kind=self.kind,
            status=self.status,
            exit_code=verdict.exit_code if verdict else None,
            stdout=self._texts[OutputStream.STDOUT].text,
            stderr=self._texts[OutputStream.STDERR].text,
            output_truncated=truncated or self._results.truncated,
            results=tuple(self._results.kept),
            error=self._error if verdict else None,
            execution_count=self.execution_count,
            created_at=self._created_at,
            started_at=self._started_at,
            finished_at=self._finished_at,
            duration_ms=self._duration_ms,
            last_seq=self.log.last_seq,
            interpreter_restarted=bool(verdict and verdict.interpreter_restarted),
        )

    async def read(
        self, after: int, max_bytes: int, wait_seconds: float, reader_id: str
    ) -> EventBatch:
        """Wait for events after `after`."""
        events = await self.log.read(after, max_bytes, wait_seconds, reader_id)
        if events and isinstance(events[-1], Finished):
            return EventBatch(self.id, events, ended=True, record=self.record())
        return EventBatch(self.id, events, self.log.ended and after >= self.log.last_seq)
