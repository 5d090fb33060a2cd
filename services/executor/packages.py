"""The packages of one session: installations as executions, and for running code."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from pathlib import Path

from services.executor import incoming
from services.executor.errors import ExecutorError
from services.executor.execution import Execution
from services.executor.failures import InstallFailedError, InstallTimedOutError
from services.executor.installer import InstallTarget, PackageInstaller
from services.executor.messages import (
    CodeError,
    ExecutionStatus,
    InstalledPackage,
    OutputStream,
    SessionSpec,
)
from services.executor.platforms import wheel_platform
from services.executor.requirements import parse_requirements
from services.executor.storage import SessionStorage
from services.executor.verdicts import Verdict

Survey = Callable[[], Awaitable[dict[str, object]]]
"""Asks the sandbox for its Python, its platform and the image's packages."""

IMAGE_PACKAGES = 5_000
DISABLED = "Installing packages is switched off by the operator."


class SessionPackages:
    """Installs into the session's package folder; knows what is there."""

    def __init__(self, spec: SessionSpec, storage: SessionStorage) -> None:
        """Serve a prepared storage; `prepare` is to be called first."""
        self.version = 1
        """Grows with each change of `installed`."""
        self.installed: tuple[InstalledPackage, ...] = ()
        self._spec = spec
        self._storage = storage
        self._installer: PackageInstaller | None = None
        self._surveying = asyncio.Lock()

    def prepare(self) -> None:
        """Make the folder importable and read what is in it; blocking."""
        installer = self._make(InstallTarget("3.12", "x86_64-manylinux_2_28"))
        installer.prepare()
        self.installed = installer.installed()

    def _make(self, target: InstallTarget) -> PackageInstaller:
        return PackageInstaller(
            node_data_dir=Path(self._spec.node_data_dir),
            packages=self._storage.packages,
            install=self._storage.install,
            limits=self._spec.limits,
            target=target,
            index_url=self._spec.package_index_url,
        )

    def check(self, requirements: Iterable[str]) -> None:
        """Raise `InvalidRequirementError` unless all are plain names with versions."""
        parse_requirements(requirements)

    async def run(
        self, execution: Execution, requirements: Iterable[str], *, upgrade: bool, survey: Survey
    ) -> Verdict:
        """Install as an execution of its own, the installer's words being its output."""
        execution.start()
        try:
            await self._install(execution, requirements, survey, upgrade=upgrade, quiet=False)
        except InstallTimedOutError as error:
            return _failed(error, ExecutionStatus.TIMED_OUT)
        except (ExecutorError, TimeoutError) as error:
            return _failed(error, ExecutionStatus.FAILED)
        return Verdict(ExecutionStatus.SUCCEEDED, 0)

    async def run_for_code(
        self, execution: Execution, wish: incoming.Install, *, survey: Survey
    ) -> str | None:
        """Install for `%pip` in running code; return what failed, None where nothing did."""
        try:
            await self._install(
                execution, wish.requirements, survey, upgrade=wish.upgrade, quiet=wish.quiet
            )
        except (ExecutorError, TimeoutError) as error:
            return str(error) or "the sandbox did not answer"
        return None

    async def _install(
        self,
        execution: Execution,
        requirements: Iterable[str],
        survey: Survey,
        *,
        upgrade: bool,
        quiet: bool,
    ) -> None:
        if not self._spec.packages_enabled:
            raise InstallFailedError(DISABLED)
        names = tuple(requirements)
        self.check(names)
        async with self._surveying:
            # One installer alone, at whose lock all wait.
            if self._installer is None:
                self._installer = self._make(_target(await survey()))

        def on_output(stream: OutputStream, text: str) -> None:
            if not quiet:
                execution.output(stream, text.encode("utf-8", "replace"))

        self.installed = await self._installer.install(names, upgrade=upgrade, on_output=on_output)
        self.version += 1


def _target(survey: dict[str, object]) -> InstallTarget:
    """Read what the inside says of itself; it is checked, for it may not be ours by now."""
    packages = survey.get("packages")
    libc = survey.get("libc")
    return InstallTarget(
        python_version=str(survey.get("python")),
        platform=wheel_platform(str(survey.get("machine")), libc if isinstance(libc, list) else []),
        image_packages={
            str(name): str(version)
            for name, version in islice(
                (packages if isinstance(packages, dict) else {}).items(), IMAGE_PACKAGES
            )
        },
    )


def _failed(error: Exception, status: ExecutionStatus) -> Verdict:
    message = str(error) or "The sandbox did not answer: try again."
    return Verdict(status, 1, CodeError("InstallError", message, message))
