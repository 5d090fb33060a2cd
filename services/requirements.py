"""Package requirements: PEP 508 names with versions and extras, and nothing else of PEP 508."""

import re
from collections.abc import Sequence

from packaging.requirements import InvalidRequirement, Requirement

from services.errors import BadUserInputError
from services.limits import MAX_REQUIREMENT_CHARACTERS, MAX_REQUIREMENTS

# Name, extras, version specifiers: no slash, backslash, quote, semicolon, `@` or control
# character may come so far as the parser.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-\[\], <>=!~*+()]*", re.ASCII)


def check_requirements(packages: Sequence[str]) -> tuple[str, ...]:
    """Return the requirements without space around, 1 to 50 of at most 200 characters.

    Raises `BadUserInputError` for field `packages`.
    """
    if not 1 <= len(packages) <= MAX_REQUIREMENTS:
        raise _error(f"has {len(packages)} names: 1 to {MAX_REQUIREMENTS} are allowed")
    return tuple(_check(package) for package in packages)


def _check(package: str) -> str:
    if len(package) > MAX_REQUIREMENT_CHARACTERS:
        raise _error(
            f"has a name of {len(package)} characters: {MAX_REQUIREMENT_CHARACTERS} are allowed"
        )
    plain = package.strip(" ")
    if _PLAIN.fullmatch(plain) is None or not _parses(plain):
        raise _error(
            f"has {package!r}: names with versions and extras are allowed, as"
            " `numpy==2.1.0`; no URLs, paths, markers or options"
        )
    return plain


def _parses(plain: str) -> bool:
    try:
        requirement = Requirement(plain)
    except InvalidRequirement:
        return False
    return requirement.url is None and requirement.marker is None


def _error(what: str) -> BadUserInputError:
    return BadUserInputError(f"`packages` {what}.", field="packages")
