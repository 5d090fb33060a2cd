"""Failed installations: what went wrong, in the resolver's words, and what to do."""

from collections.abc import Callable

from services.executor.errors import ExecutorError

_WORDS_CHARACTERS = 8_000


class InstallFailedError(ExecutorError):
    """The packages could not be installed; those of before are as they were."""


class InstallTimedOutError(InstallFailedError):
    """The installation was ended at its time limit."""


class InstallRunningError(InstallFailedError):
    """Another process installs into this session just now."""


class UnsafePackagesError(InstallFailedError):
    """An installation made something other than plain files and folders."""


def failure(words: str, exit_code: int, python_version: str) -> InstallFailedError:
    """Make the error from what uv said."""
    said = words.strip()[:_WORDS_CHARACTERS] or f"The installer ended with code {exit_code}."
    return InstallFailedError(f"{said}\n\n{_advice(said.lower(), python_version)}")


def _advice(said: str, python_version: str) -> str:
    for signs, advice in _ADVICE:
        if any(sign in said for sign in signs):
            return advice(python_version)
    return "Ask for other versions, or for fewer packages at once."


_ADVICE: tuple[tuple[tuple[str, ...], Callable[[str], str]], ...] = (
    (
        ("no usable wheels", "has no wheels", "no matching python", "no matching platform"),
        lambda version: (
            f"There is no wheel of it for Python {version} on this platform, and packages are "
            "not built from source: ask for another version, or leave the version out."
        ),
    ),
    (
        ("does not satisfy python", "requires-python"),
        lambda version: (
            f"That version is not for Python {version}: ask for another one, or leave it out."
        ),
    ),
    (
        ("not found in the package registry", "no such package", "not found in the provided"),
        lambda _: "Check the spelling of the name.",
    ),
    (
        ("is available", "are available", "there is no version", "there are no versions"),
        lambda _: "Ask for a version that is there, or leave the version out.",
    ),
    (
        ("failed to fetch", "error sending request", "failed to download", "could not connect"),
        lambda _: "The package index could not be reached: try again later.",
    ),
    (
        ("no space left", "file too large"),
        lambda _: "There is no room for these packages: install fewer or smaller ones.",
    ),
)
