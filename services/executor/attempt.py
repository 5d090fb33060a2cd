"""One attempt at an installation: versions chosen, wheels unpacked, limits watched."""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from services.executor.beneath import open_beneath
from services.executor.failures import InstallFailedError, failure
from services.executor.messages import SessionLimits
from services.executor.usage import Usage, measure
from services.executor.uv import INPUT, PACKAGES, WORK, Uv
from services.executor.wheels import AT_ONCE, INSTALLER_UID, WheelCache

_WATCH_SECONDS = 0.5
_MEASURE_SECONDS = 60.0
_LOCK = "lock.txt"
_LOCK_BYTES = 1024 * 1024
_REQUIREMENTS = "requirements.in"
_PINS = "pins.txt"
_UNREADABLE = "The resolver's answer could not be read: try again."


class Attempt:
    """Resolves, then fills uv's package folder, both watched; for one installation."""

    def __init__(
        self, uv: Uv, cache: WheelCache, limits: SessionLimits, python_version: str, platform: str
    ) -> None:
        """Work in uv's folders, for the Python and platform that the packages must run on."""
        self._uv = uv
        self._cache = cache
        self._limits = limits
        self._python_version = python_version
        self._platform = platform
        self._cached_before = cache.contents()

    async def resolve(
        self,
        requested: Mapping[str, Requirement],
        *,
        preferred: Mapping[str, str],
        upgraded: Sequence[str],
    ) -> Mapping[str, str]:
        """Choose versions, those of `preferred` where they fit and are not to be upgraded."""
        _write(self._uv.input / _REQUIREMENTS, map(str, requested.values()))
        lock = self._uv.work / _LOCK
        _write(lock, _pins(preferred))
        os.chown(lock, INSTALLER_UID, INSTALLER_UID)
        await self._uv_pip(
            "compile",
            f"{INPUT}/{_REQUIREMENTS}",
            "--output-file",
            f"{WORK}/{_LOCK}",
            "--no-header",
            "--no-annotate",
            *(f"--upgrade-package={name}" for name in upgraded),
        )
        resolved = _read_pins(self._uv.work, _LOCK)
        if not requested.keys() <= resolved.keys():
            raise InstallFailedError(_UNREADABLE)
        return resolved

    async def fill(self, packages: Mapping[str, str]) -> None:
        """Unpack exactly these packages into uv's package folder."""
        _write(self._uv.input / _PINS, _pins(packages))
        if packages:
            await self._uv_pip(
                "install",
                "--no-deps",
                "--link-mode",
                "copy",
                "--target",
                PACKAGES,
                "--requirements",
                f"{INPUT}/{_PINS}",
            )
        await self._check()

    async def _uv_pip(self, command: str, *arguments: str) -> None:
        outcome = await self._uv.run(
            "pip",
            command,
            *arguments,
            "--python-version",
            self._python_version,
            "--python-platform",
            self._platform,
            watch=self._watch,
        )
        if outcome.exit_code != 0:
            raise failure(outcome.words, outcome.exit_code, self._python_version)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._check()

    async def _check(self) -> None:
        """Raise `InstallFailedError` once the packages are over a limit, cache included."""
        used = await asyncio.to_thread(self._measure)
        cached = await asyncio.to_thread(self._cache.growth, self._cached_before)
        limits = self._limits
        for what, limit, amount, in_cache in (
            ("bytes", limits.packages_bytes, used.bytes, cached.bytes),
            ("files", limits.packages_files, used.files, cached.files),
        ):
            # Others install into the same cache at once: it is given room for all of them.
            if amount > limit or in_cache > AT_ONCE * limit:
                raise InstallFailedError(
                    f"The packages are over the limit of {limit} {what}: "
                    "install fewer or smaller ones.",
                    limit=limit,
                )

    def _measure(self) -> Usage:
        work = measure(self._uv.work, seconds=_MEASURE_SECONDS)
        packages = measure(self._uv.packages, seconds=_MEASURE_SECONDS)
        return Usage(work.bytes + packages.bytes, work.files + packages.files)


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("x") as file:
        file.writelines(f"{line}\n" for line in lines)
    path.chmod(0o644)


def _pins(versions: Mapping[str, str]) -> Sequence[str]:
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def _read_pins(folder: Path, name: str) -> Mapping[str, str]:
    """Read versions from uv's folder, without trusting what is there."""
    with ExitStack() as stack:
        below = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        stack.callback(os.close, below)
        file = open_beneath(below, name.encode(), os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, file)
        raw = os.read(file, _LOCK_BYTES)
    try:
        requirements = [Requirement(line) for line in raw.decode().splitlines() if line.strip()]
    except ValueError as error:
        raise InstallFailedError(_UNREADABLE) from error
    return {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement in requirements
    }
