"""Installing packages for a session, on the node, without anything of theirs being run."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from services.executor.attempt import Attempt
from services.executor.failures import InstallFailedError, InstallTimedOutError
from services.executor.generations import Generations, PackageState
from services.executor.messages import InstalledPackage, OutputStream, SessionLimits
from services.executor.requirements import merge_requirements, parse_requirements
from services.executor.uv import OnOutput, Uv, UvMissingError
from services.executor.wheels import WheelCache

logger = logging.getLogger(__name__)

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

    @property
    def name(self) -> str:
        """What a package is built for: Python without its patch level, and the platform."""
        major, minor, *_ = self.python_version.split(".")
        return f"{major}.{minor} {self.platform}"

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
        await asyncio.to_thread(self._tidy)
        return packages

    def _tidy(self) -> None:
        try:
            self._cache.tidy()
        except OSError as error:
            # The packages are in place: the next installation tries again.
            logger.warning("the cache of wheels is not tidied: %s", error)

    async def _install(
        self, added: Sequence[Requirement], *, upgrade: bool, on_output: OnOutput
    ) -> tuple[InstalledPackage, ...]:
        before = await asyncio.to_thread(self._generations.state)
        # What is there for another Python, or nobody knows for which, is as good as not there.
        fits = not before.copied or before.target == self._target.name
        earlier = {name: Requirement(text) for name, text in before.requested.items()}
        requested = merge_requirements(earlier, added)
        fresh = self._generations.fresh()
        try:
            await _to_the_end(fresh.open)
            uv = Uv(fresh.folder, self._cache.folder, self._index_url, on_output)
            target = self._target
            run = Attempt(uv, self._cache, self._limits, target.python_version, target.platform)
            resolved = await run.resolve(
                requested,
                preferred=self._preferred(before.resolved, fits=fits),
                upgraded=[requirement.name for requirement in added] if upgrade else [],
            )
            state = self._state(requested, resolved)
            if fits and state.copied == before.copied:
                self._generations.note(state)
            else:
                await run.fill(state.copied)
                await _to_the_end(self._generations.adopt, uv.packages, state)
        finally:
            await _to_the_end(fresh.close)
        there = before.copied if fits else {}
        on_output(OutputStream.STDOUT, _summary(there, state, added))
        return _packages(state)

    def _preferred(self, resolved: Mapping[str, str], *, fits: bool) -> dict[str, str]:
        """Return versions to stay with; a new image's own rather than those of the one before."""
        return self._image | dict(resolved) if fits else dict(resolved) | self._image

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
            target=self._target.name,
        )


async def _to_the_end[**P](step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run a blocking step that a cancelled caller waits for: a thread can't be stopped."""
    running = asyncio.ensure_future(asyncio.to_thread(step, *args, **kwargs))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def _canonical(versions: Mapping[str, str]) -> dict[str, str]:
    """Name an image's packages as resolvers do; the image, or who took it over, chose them."""
    found: dict[str, str] = {}
    for name, version in versions.items():
        with suppress(InvalidName, InvalidVersion):
            found[canonicalize_name(name, validate=True)] = str(Version(version))
    return found


def _summary(there: Mapping[str, str], after: PackageState, added: Sequence[Requirement]) -> str:
    """Say what changed, in the words that users of pip know."""
    changed = [
        f"{name}-{version}"
        for name, version in sorted(after.copied.items())
        if there.get(name) != version
    ]
    if changed:
        return f"Successfully installed {' '.join(changed)}\n"
    names = sorted({canonicalize_name(requirement.name) for requirement in added})
    return "".join(
        f"Requirement already satisfied: {name}=={after.resolved[name]}\n" for name in names
    )


def _packages(state: PackageState) -> tuple[InstalledPackage, ...]:
    return tuple(
        InstalledPackage(name, version) for name, version in sorted(state.resolved.items())
    )
