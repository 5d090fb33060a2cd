"""Names of cells, and the tracebacks that IPython leaves to Python."""

import asyncio
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import IPython
from IPython.core.compilerop import CachingCompiler

SHELL = IPython.__path__[0]
PROGRAM = str(Path(__file__).parent)
CALLERS = (SHELL, PROGRAM, asyncio.__path__[0])
"""Whose frames are above the code's."""


class Compiler(CachingCompiler):
    """Compiles cells under the names that tracebacks and warnings show."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        """Name a cell by its number alone."""
        del raw_code, transformed_code
        return f"Cell In[{number}]"


def cut_ours(error: BaseException) -> None:
    """Take our frames, those of `input()` or of an interrupt's handler, off tracebacks' ends."""
    for each in _chain(error):
        trace = each.__traceback__
        while trace is not None and trace.tb_next is not None:
            if trace.tb_next.tb_frame.f_code.co_filename.startswith(PROGRAM):
                trace.tb_next = None
            trace = trace.tb_next


def holds_group(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came of, is a group of several."""
    return any(isinstance(each, BaseExceptionGroup) for each in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it came of; a circle ends where it began."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def format_whole(error: BaseException) -> str:
    """Format an exception as Python does, groups and all, from the code's own frames on."""
    lines = traceback.format_exception(type(error), error, _codes_own(error.__traceback__))
    return "".join(lines).rstrip("\n")


def _codes_own(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(CALLERS):
        trace = trace.tb_next
    return trace
