"""Package requirements as a user may state them: a name, versions, extras, nothing else."""

from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from services.executor.errors import InvalidRequirementError

MAX_LENGTH = 200
MAX_REQUIREMENTS = 50


def parse_requirements(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Read requirements. Raises `InvalidRequirementError` for the first that is not plain."""
    named = tuple(texts)
    if not named:
        raise InvalidRequirementError("Name at least one package to install.")
    if len(named) > MAX_REQUIREMENTS:
        raise InvalidRequirementError(
            f"At most {MAX_REQUIREMENTS} packages can be installed at once.",
            limit=MAX_REQUIREMENTS,
        )
    return tuple(parse_requirement(text) for text in named)


def parse_requirement(text: str) -> Requirement:
    """Read one requirement, such as `numpy`, `numpy==2.1.0` or `uvicorn[standard]>=0.30,<1`.

    Raises `InvalidRequirementError` for addresses, paths, options, markers and the like.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidRequirementError(
            f"A package requirement can't be over {MAX_LENGTH} characters.", limit=MAX_LENGTH
        )
    if not text.isascii() or not text.isprintable():
        raise _refused(text, "it holds characters that no package name has")
    try:
        requirement = Requirement(text.strip())
    except InvalidRequirement as error:
        raise _refused(text, "it is not a package name with versions") from error
    if requirement.url is not None:
        raise _refused(text, "addresses and paths are not installed from")
    if requirement.marker is not None or ";" in text:
        raise _refused(text, "conditions after ';' are not taken")
    if any(specifier.operator == "===" for specifier in requirement.specifier):
        raise _refused(text, "'===' is not taken: use '=='")
    return requirement


def merge_requirements(
    earlier: Mapping[str, Requirement], added: Iterable[Requirement]
) -> dict[str, Requirement]:
    """Add requirements to earlier ones, by canonical name.

    New versions replace those asked for earlier; extras add up, as with an installer that
    never removes what is there. Of two in `added` with one name both hold.
    """
    merged = dict(earlier)
    seen: set[str] = set()
    for requirement in added:
        name = canonicalize_name(requirement.name)
        result = Requirement(str(requirement))
        if name in merged:
            result.extras |= merged[name].extras
        if name in seen:
            result.specifier &= merged[name].specifier
        seen.add(name)
        merged[name] = result
    return merged


def _refused(text: str, why: str) -> InvalidRequirementError:
    return InvalidRequirementError(
        f"{text!r} can't be installed: {why}. Name a package as on the package index, "
        "with versions and extras if need be, such as numpy==2.1.0."
    )
