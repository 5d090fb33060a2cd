"""Installations into a session's folders on the node, and what they leave."""

from dataclasses import dataclass, field
from pathlib import Path

from services.executor.installer import InstallTarget, PackageInstaller
from services.executor.messages import OutputStream, SessionLimits
from services.executor.wheels import INSTALLER_UID

TARGET = InstallTarget(python_version="3.13", platform="x86_64-manylinux_2_40")
LIMITS = SessionLimits(packages_bytes=64 * 1024 * 1024, packages_files=2_000, install_seconds=60.0)


@dataclass
class Session:
    """A session's folders with an installer, and what it said."""

    root: Path
    index_url: str | None
    limits: SessionLimits = LIMITS
    target: InstallTarget = TARGET
    name: str = "one"
    said: list[tuple[OutputStream, str]] = field(default_factory=list)

    @property
    def packages(self) -> Path:
        """The folder that the sandbox sees."""
        return self.root / self.name / "packages"

    @property
    def current(self) -> Path:
        """What the sandbox imports from."""
        return self.packages / "current"

    def installer(self) -> PackageInstaller:
        """Make an installer, as a start of the session does."""
        for folder in (self.packages, self.packages.parent / "install"):
            folder.mkdir(parents=True, exist_ok=True)
        installer = PackageInstaller(
            node_data_dir=self.root,
            packages=self.packages,
            install=self.packages.parent / "install",
            limits=self.limits,
            target=self.target,
            index_url=self.index_url,
        )
        installer.prepare()
        return installer

    async def install(self, *requirements: str, upgrade: bool = False) -> dict[str, str]:
        """Install with a new installer, and return the versions that are there then."""
        packages = await self.installer().install(
            requirements,
            upgrade=upgrade,
            on_output=lambda stream, text: self.said.append((stream, text)),
        )
        assert packages == self.installer().installed()
        return {package.name: package.version for package in packages}

    @property
    def words(self) -> str:
        """All that was said, of both streams."""
        return "".join(text for _, text in self.said)


def left_over(session: Session) -> list[str]:
    """List what installations left in the host's folder."""
    return [
        entry.name
        for entry in (session.packages.parent / "install").iterdir()
        if entry.suffix != ".json"
    ]


def installer_processes() -> list[str]:
    """List processes that run as the installer's user."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"Uid:\t{INSTALLER_UID}\t" in status.read_text():
                found.append(status.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
