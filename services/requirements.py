"""Package requirements as `installPackages` takes them: those that the executor reads."""

from collections.abc import Sequence

from services.executor.requirements import parse_requirements
from services.translate import executor_errors


def check_requirements(packages: Sequence[str]) -> tuple[str, ...]:
    """Return the requirements without space around.

    Raises `BadUserInputError` for field `packages`.
    """
    with executor_errors():
        parse_requirements(packages)
    return tuple(package.strip() for package in packages)
