"""What running code tells its readers."""

from datetime import datetime
from typing import Self

import strawberry

from schema.display import CodeError, DisplayData
from schema.enums import ExecutionStatus, OutputStream
from schema.nodes import Execution
from schema.scalars import utc
from services import entities
from services.executor import messages


@strawberry.interface(
    description=(
        "What running code tells its readers. `seq` counts from 1 without holes, per execution."
    )
)
class ExecutionEvent:
    """The contract's `ExecutionEvent`."""

    execution_id: strawberry.ID
    seq: int
    at: datetime


@strawberry.type
class ExecutionQueued(ExecutionEvent):
    """The contract's `ExecutionQueued`."""

    position: int = strawberry.field(description="How many are before it.")


@strawberry.type
class ExecutionStarted(ExecutionEvent):
    """The contract's `ExecutionStarted`."""


@strawberry.type
class OutputChunk(ExecutionEvent):
    """The contract's `OutputChunk`."""

    stream: OutputStream
    text: str = strawberry.field(
        description="Whole characters only; invalid UTF-8 comes as U+FFFD."
    )


@strawberry.type(
    description=("A value or a figure shown: the last expression's (`isResult`), or one displayed.")
)
class DisplayOutput(ExecutionEvent):
    """The contract's `DisplayOutput`."""

    data: DisplayData


@strawberry.type(description="Code asked to clear what it has shown.")
class OutputCleared(ExecutionEvent):
    """The contract's `OutputCleared`."""

    wait: bool = strawberry.field(description="Wait for the next output before clearing.")


@strawberry.type(description="Code called input(): answer with `provideInput`.")
class InputRequested(ExecutionEvent):
    """The contract's `InputRequested`."""

    prompt: str
    password: bool


@strawberry.type(
    description=(
        "Output that this reader missed is no longer kept "
        "(only OutputChunk and DisplayOutput are ever dropped); "
        "`seq` is the last event dropped."
    )
)
class OutputGap(ExecutionEvent):
    """The contract's `OutputGap`."""

    from_seq: int
    dropped_bytes: float


@strawberry.type
class ExecutionErrored(ExecutionEvent):
    """The contract's `ExecutionErrored`."""

    error: CodeError


@strawberry.type(description="The last event of every execution.")
class ExecutionFinished(ExecutionEvent):
    """The contract's `ExecutionFinished`."""

    status: ExecutionStatus
    exit_code: int
    duration_ms: float
    interpreter_restarted: bool = strawberry.field(
        description="The interpreter had to be replaced: its state is gone."
    )
    execution: Execution | None = strawberry.field(
        description=(
            "The complete record, as `execution(id)` answers from now on; "
            "null only where nothing can read it just now."
        )
    )

    @classmethod
    def of(
        cls,
        execution_id: strawberry.ID,
        event: messages.Finished,
        execution: entities.Execution | None,
    ) -> Self:
        """Show the end, with the record where there is one."""
        return cls(
            execution_id=execution_id,
            seq=event.seq,
            at=utc(event.at),
            status=ExecutionStatus(event.status),
            exit_code=event.exit_code,
            duration_ms=event.duration_ms,
            interpreter_restarted=event.interpreter_restarted,
            execution=None if execution is None else Execution.of(execution),
        )


EVENT_TYPES: list[type[ExecutionEvent]] = [
    ExecutionQueued,
    ExecutionStarted,
    OutputChunk,
    DisplayOutput,
    OutputCleared,
    InputRequested,
    OutputGap,
    ExecutionErrored,
    ExecutionFinished,
]


def event_of(update: entities.ExecutionUpdate) -> ExecutionEvent:  # noqa: PLR0911 - one a case
    """Turn what the executor says into the contract's event."""
    execution_id = strawberry.ID(str(update.execution_id))
    event = update.event
    seq, at = event.seq, utc(event.at)
    match event:
        case messages.Output(stream=stream, text=text):
            return OutputChunk(
                execution_id=execution_id, seq=seq, at=at, stream=OutputStream(stream), text=text
            )
        case messages.Queued(position=position):
            return ExecutionQueued(execution_id=execution_id, seq=seq, at=at, position=position)
        case messages.Started():
            return ExecutionStarted(execution_id=execution_id, seq=seq, at=at)
        case messages.Display(data=data):
            shown = DisplayData.of(data)
            return DisplayOutput(execution_id=execution_id, seq=seq, at=at, data=shown)
        case messages.Cleared(wait=wait):
            return OutputCleared(execution_id=execution_id, seq=seq, at=at, wait=wait)
        case messages.InputRequested(prompt=prompt, password=password):
            return InputRequested(
                execution_id=execution_id, seq=seq, at=at, prompt=prompt, password=password
            )
        case messages.Gap(from_seq=from_seq, dropped_bytes=dropped):
            return OutputGap(
                execution_id=execution_id,
                seq=seq,
                at=at,
                from_seq=from_seq,
                dropped_bytes=dropped,
            )
        case messages.Errored(error=error):
            shown_error = CodeError.of(error)
            return ExecutionErrored(execution_id=execution_id, seq=seq, at=at, error=shown_error)
        case messages.Finished():
            return ExecutionFinished.of(execution_id, event, update.execution)
