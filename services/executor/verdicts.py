"""How executions end, and in what words."""

import signal
from dataclasses import dataclass

from services.executor.messages import CodeError, ExecutionStatus

OUT_OF_MEMORY = "it ran out of memory"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an execution ended."""

    status: ExecutionStatus
    exit_code: int
    error: CodeError | None = None
    interpreter_restarted: bool = False


def lost(reason: str, *, name: str = "SandboxDied") -> Verdict:
    """Make the verdict of an execution whose sandbox died under it."""
    message = f"The sandbox died under the execution: {reason}."
    error = CodeError(name, message, "")
    return Verdict(ExecutionStatus.LOST, 137, error, interpreter_restarted=True)


ENDED = "The execution was ended with its interpreter, whose state is gone."
NEVER_RAN = "The execution was taken off the queue: its code never ran."


def interrupted(*, restarted: bool) -> Verdict:
    """Make the verdict of an execution that somebody ended, with the interpreter or unbegun."""
    value = ENDED if restarted else NEVER_RAN
    error = CodeError("KeyboardInterrupt", value, f"KeyboardInterrupt: {value}")
    return Verdict(ExecutionStatus.INTERRUPTED, 130, error, restarted)


def timed_out(seconds: float) -> Verdict:
    """Make the verdict of an execution that its limit ended."""
    return _out_of_time(
        f"The execution was ended at its limit, after {seconds:.1f} s, and the interpreter's "
        "state is gone; a higher `timeoutSeconds` gives it longer."
    )


def ignored(seconds: float) -> Verdict:
    """Make the verdict of an execution whose question nobody answered within its limit."""
    return _out_of_time(
        f"Nobody answered the code's question within its limit of time, {seconds:.1f} s, and the "
        "interpreter's state is gone: answer by `provideInput`, or give a higher `timeoutSeconds`."
    )


def died(code: int) -> Verdict:
    """Judge an interpreter that ended by itself; the code's own doing, mostly.

    `code` is its exit code, or minus the signal that ended it.
    """
    if code >= 0:
        status = ExecutionStatus.FAILED if code else ExecutionStatus.SUCCEEDED
        message = f"The code ended the interpreter with exit code {code}; its state is gone."
        error = CodeError("InterpreterExited", message, "") if code else None
        return Verdict(status, code & 0xFF, error, interpreter_restarted=True)
    known = {number.value: number.name for number in signal.Signals}
    name = known.get(-code, f"signal {-code}")
    message = f"The interpreter was ended by {name}; its state is gone."
    error = CodeError("InterpreterKilled", message, "")
    return Verdict(ExecutionStatus.LOST, 128 - code, error, interpreter_restarted=True)


def _out_of_time(message: str) -> Verdict:
    error = CodeError("TimeoutError", message, "")
    return Verdict(ExecutionStatus.TIMED_OUT, 124, error, interpreter_restarted=True)
