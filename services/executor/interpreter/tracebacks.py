"""Names of cells, and the tracebacks that IPython leaves to Python."""

import traceback
from types import TracebackType

import IPython
from IPython.core.compilerop import CachingCompiler

OURS = IPython.__path__[0]


class Compiler(CachingCompiler):
    """Compiles cells under the names that tracebacks and warnings show."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        """Name a cell by its number alone."""
        del raw_code, transformed_code
        return f"Cell In[{number}]"


def holds_group(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came of, is a group of several."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, BaseExceptionGroup):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def format_whole(error: BaseException) -> str:
    """Format an exception as Python does, groups and all, without the shell's own frames."""
    lines = traceback.format_exception(type(error), error, _codes_own(error.__traceback__))
    return "".join(lines).rstrip("\n")


def _codes_own(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    return trace
