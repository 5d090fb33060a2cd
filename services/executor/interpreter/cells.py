"""Which cells are plain Python: IPython's look at their text would change nothing.

That look (magics, `!`, `?`, prompts pasted along) tokenizes a cell several times: a third of
what a short one costs, and seconds for a megabyte.
"""

import re
from collections.abc import Iterable

from IPython.core.autocall import IPyAutocall
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.macro import Macro

_BEGINS = re.compile(r"[\w\"'#@(\[{]")
_SPECIAL = re.compile(
    # What calls magics, the shell or help, wherever; line ends that only Python's text knows;
    r"[%!?\r\v\f\x1c-\x1e\x85\u2028\u2029]"
    # what a line that is no plain Python begins with, and lines of blanks, which are emptied.
    r"|^[^\S\n]*(?:[,;/]|>>>|\.\.\.|In ?\[|Out ?\[)|^[^\S\n]+$",
    re.MULTILINE,
)
_LOOPED = re.compile(r"\b(?:create_task|ensure_future|get_running_loop|current_task)\s*\(")
_LOOPS = re.compile(r"\brun\s*\(|\brun_until_complete\b|\brun_forever\b|\bRunner\b")
_BLANK = re.compile(r"(?:[^\S\n]*\n)+")
_WORD = re.compile(r"[\w.]*")


class Cells:
    """Looks at cells for a shell, as long as nobody has taught that new transformations."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Remember what the shell does with a cell as it is now."""
        self._shell = shell
        self._rules = _rules(shell)

    def is_plain(self, cell: str) -> bool:
        """Whether the cell, with a line end at its end, is what the shell would make of it."""
        if not _BEGINS.match(cell) or _SPECIAL.search(cell):
            return False
        shell = self._shell
        if shell.autocall or _rules(shell) != self._rules:
            return False
        return "\n" in cell.rstrip("\n") or not self._calls_magic(cell)

    def _calls_magic(self, line: str) -> bool:
        """Whether a single line may be one of those that need no `%`, as `pwd`."""
        shell = self._shell
        word = _WORD.match(line)
        name = word[0] if word else ""
        return name.partition(".")[0] in shell.magics_manager.magics["line"] or isinstance(
            shell.user_ns.get(name), Macro | IPyAutocall
        )


def _rules(shell: InteractiveShell) -> tuple[tuple[object, ...], ...]:
    manager, prefilter = shell.input_transformer_manager, shell.prefilter_manager
    rules: tuple[Iterable[object], ...] = (
        manager.cleanup_transforms,
        manager.line_transforms,
        manager.token_transformers,
        shell.input_transformers_post,
        prefilter.checkers,
        prefilter.transformers,
    )
    return tuple(map(tuple, rules))


def split_blank(cell: str) -> tuple[str, str]:
    """Return as many line ends as the cell has blank lines before its first, and the rest."""
    blank = _BLANK.match(cell)
    if blank is None:
        return "", cell
    return "\n" * blank[0].count("\n"), cell[blank.end() :]


def wants_loop(cell: str) -> bool:
    """Whether the cell asks for the loop that runs it, without being asynchronous itself.

    One that runs a loop of its own must not be run by another.
    """
    return _LOOPED.search(cell) is not None and _LOOPS.search(cell) is None


def has_await(cell: str) -> bool:
    """Whether the cell may be asynchronous, which takes a compilation to know for sure."""
    return "await" in cell or "async" in cell
