"""What `%pip` is asked for."""

import shlex

from IPython.core.error import UsageError


def parse(line: str) -> tuple[bool, bool, list[str]]:
    """Return whether to be quiet, whether to upgrade, and what to install.

    Raises `UsageError` for what is not taken.
    """
    words = shlex.split(line)
    if words[:1] != ["install"]:
        msg = (
            "only %pip install is there: `importlib.metadata` lists what is installed, "
            "and packages go with their sandbox"
        )
        raise UsageError(msg)
    quiet = upgrade = False
    names = []
    for word in words[1:]:
        if word in ("-q", "-qq", "-qqq", "--quiet"):
            quiet = True
        elif word in ("-U", "--upgrade"):
            upgrade = True
        elif word.startswith("-"):
            msg = f"{word} is not taken: %pip install [-q] [-U] NAME[==VERSION] ..."
            raise UsageError(msg)
        else:
            names.append(word)
    if not names:
        msg = "name a package: %pip install NAME"
        raise UsageError(msg)
    return quiet, upgrade, names
