"""Installing packages for a session, on the node, without anything of theirs being run."""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from services.executor.beneath import open_beneath
from services.executor.failures import InstallFailedError, InstallTimedOutError, failure
from services.executor.generations import Generations, PackageState
from services.executor.messages import InstalledPackage, SessionLimits
from services.executor.requirements import merge_requirements, parse_requirements
from services.executor.usage import Usage, measure
from services.executor.uv import INPUT, PACKAGES, WORK, OnOutput, Uv, UvMissingError
from services.executor.wheels import AT_ONCE, INSTALLER_UID, WheelCache

_WATCH_SECONDS = 0.5
_MEASURE_SECONDS = 60.0
_LOCK = "lock.txt"
_LOCK_BYTES = 1024 * 1024
_REQUIREMENTS = "requirements.in"
_PINS = "pins.txt"
_UNREADABLE = "The resolver's answer could not be read: try again."
_PYTHON_VERSION = re.compile(r"3\.[0-9]{1,3}(\.[0-9]{1,3})?")
_PLATFORM = re.compile(r"[a-z0-9][a-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class InstallTarget:
    """What the packages must run on, and what is there already."""

    python_version: str
    """Of the image, such as `3.13` or `3.13.5`."""
    platform: str
    """As uv spells it, such as `x86_64-manylinux_2_40`."""
    image_packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the image itself has, by name; what is no name or version is left out."""

    def __post_init__(self) -> None:
        """Raise `InstallFailedError` where the sandbox told nonsense of itself."""
        for said, sound in ((self.python_version, _PYTHON_VERSION), (self.platform, _PLATFORM)):
            if not sound.fullmatch(said):
                raise InstallFailedError(
                    f"The sandbox says that its Python is {said!r}, for which there are no "
                    "packages: restart it."
                )


class PackageInstaller:
    """Installs into one session's package folder, one installation at a time."""

    def __init__(
        self,
        *,
        node_data_dir: Path,
        packages: Path,
        install: Path,
        limits: SessionLimits,
        target: InstallTarget,
        index_url: str | None = None,
    ) -> None:
        """Serve the folders of a prepared session; `prepare` is to be called first."""
        self._cache = WheelCache(node_data_dir)
        self._index_url = index_url
        self._generations = Generations(packages, install)
        self._limits = limits
        self._target = target
        self._image = _canonical(target.image_packages)
        self._lock = asyncio.Lock()

    def prepare(self) -> None:
        """Make the package folder importable, though nothing be installed. Blocking."""
        self._generations.ensure()

    def installed(self) -> tuple[InstalledPackage, ...]:
        """List what was requested, and all that it needs, by name. Blocking."""
        return _packages(self._generations.state())

    async def install(
        self, requirements: Iterable[str], *, upgrade: bool, on_output: OnOutput
    ) -> tuple[InstalledPackage, ...]:
        """Install requirements beside those of before and return all that is there then.

        Raises `InvalidRequirementError` before anything runs, else `InstallFailedError` or a
        kind of it; cancelling ends it too. Then the packages are as before.
        """
        added = parse_requirements(requirements)
        try:
            async with (
                asyncio.timeout(self._limits.install_seconds),
                self._lock,
                self._cache.place(),
            ):
                packages = await self._install(added, upgrade=upgrade, on_output=on_output)
        except TimeoutError as error:
            raise InstallTimedOutError(
                f"The installation took over {self._limits.install_seconds:.0f} s and was ended: "
                "install fewer packages at once."
            ) from error
        except (UvMissingError, OSError) as error:
            raise InstallFailedError(f"The node could not install: {error}") from error
        await asyncio.to_thread(self._cache.tidy)
        return packages

    async def _install(
        self, added: Sequence[Requirement], *, upgrade: bool, on_output: OnOutput
    ) -> tuple[InstalledPackage, ...]:
        before = await asyncio.to_thread(self._generations.state)
        earlier = {name: Requirement(text) for name, text in before.requested.items()}
        requested = merge_requirements(earlier, added)
        fresh = self._generations.fresh()
        try:
            await _to_the_end(fresh.open)
            uv = Uv(fresh.folder, self._cache.folder, self._index_url, on_output)
            run = _Run(uv, self._cache, self._target, self._limits)
            resolved = await run.resolve(
                requested,
                preferred=self._image | dict(before.resolved),
                upgraded=[requirement.name for requirement in added] if upgrade else [],
            )
            state = self._state(requested, resolved)
            if state.copied == before.copied:
                self._generations.note(state)
            else:
                await run.fill(state.copied)
                await _to_the_end(self._generations.adopt, uv.packages, state)
        finally:
            await _to_the_end(fresh.close)
        return _packages(state)

    def _state(
        self, requested: Mapping[str, Requirement], resolved: Mapping[str, str]
    ) -> PackageState:
        return PackageState(
            requested={name: str(requirement) for name, requirement in requested.items()},
            resolved=resolved,
            copied={
                name: version
                for name, version in resolved.items()
                if self._image.get(name) != version
            },
        )


async def _to_the_end[**P](step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run a blocking step that a cancelled caller waits for: a thread can't be stopped."""
    running = asyncio.ensure_future(asyncio.to_thread(step, *args, **kwargs))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


class _Run:
    """One installation: resolve, then fill a folder, both watched."""

    def __init__(
        self, uv: Uv, cache: WheelCache, target: InstallTarget, limits: SessionLimits
    ) -> None:
        self._uv = uv
        self._cache = cache
        self._target = target
        self._limits = limits
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
            self._target.python_version,
            "--python-platform",
            self._target.platform,
            watch=self._watch,
        )
        if outcome.exit_code != 0:
            raise failure(outcome.words, outcome.exit_code, self._target.python_version)

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


def _canonical(versions: Mapping[str, str]) -> dict[str, str]:
    """Name an image's packages as resolvers do; the image, or who took it over, chose them."""
    found: dict[str, str] = {}
    for name, version in versions.items():
        with suppress(InvalidName, InvalidVersion):
            found[canonicalize_name(name, validate=True)] = str(Version(version))
    return found


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


def _packages(state: PackageState) -> tuple[InstalledPackage, ...]:
    return tuple(
        InstalledPackage(name, version) for name, version in sorted(state.resolved.items())
    )
