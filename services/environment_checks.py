"""Checks of environment variables, of a sandbox's and of one execution's."""

import re
from collections.abc import Sequence

from services.checks import check_encodable
from services.errors import BadUserInputError
from services.limits import (
    MAX_ENVIRONMENT_BYTES,
    MAX_ENVIRONMENT_NAME_CHARACTERS,
    MAX_ENVIRONMENT_VALUE_BYTES,
    MAX_ENVIRONMENT_VARIABLES,
)

# POSIX.1-2017, chapter 8.1, lower case letters added.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

RESERVED_NAMES = frozenset({"HOME", "PATH", "PYTHONHOME", "GLIBC_TUNABLES"})
"""The interpreter would not start, or not where the workspace is."""
RESERVED_PREFIXES = ("LD_", "SANDBOX_API_")
"""The dynamic linker's own, and ours."""


def check_environment(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the variables by name. Raises `BadUserInputError` for field `environment`."""
    if len(pairs) > MAX_ENVIRONMENT_VARIABLES:
        raise _error(f"has {len(pairs)} variables: {MAX_ENVIRONMENT_VARIABLES} are allowed")
    variables: dict[str, str] = {}
    total = 0
    for name, value in pairs:
        _check_name(name)
        if name in variables:
            raise _error(f"names {name} twice: leave one out")
        total += len(name) + _check_value(name, value)
        variables[name] = value
    if total > MAX_ENVIRONMENT_BYTES:
        raise _error(f"has {total} bytes in all: {MAX_ENVIRONMENT_BYTES} are allowed")
    return variables


def _check_name(name: str) -> None:
    if len(name) > MAX_ENVIRONMENT_NAME_CHARACTERS or _NAME.fullmatch(name) is None:
        raise _error(
            "has a name that is no identifier: letters, digits and underscores are allowed, no"
            f" digit first, at most {MAX_ENVIRONMENT_NAME_CHARACTERS}"
        )
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        raise _error(f"names {name}, which is the sandbox's own: choose another name")


def _check_value(name: str, value: str) -> int:
    if "\0" in value:
        raise _error(f"has a NUL character in the value of {name}: leave it out")
    size = len(check_encodable(value, "environment"))
    if size > MAX_ENVIRONMENT_VALUE_BYTES:
        raise _error(
            f"has {size} bytes in the value of {name}: {MAX_ENVIRONMENT_VALUE_BYTES} are allowed"
        )
    return size


def _error(what: str) -> BadUserInputError:
    return BadUserInputError(f"`environment` {what}.", field="environment")
