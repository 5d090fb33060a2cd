"""Installing packages on the node with the real uv: from an index of our own, and the public."""

import asyncio
import base64
import contextlib
import hashlib
import importlib
import os
import stat
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.executor import uv
from services.executor.errors import InvalidRequirementError
from services.executor.failures import (
    InstallFailedError,
    InstallRunningError,
    InstallTimedOutError,
    UnsafePackagesError,
)
from services.executor.installer import InstallTarget, PackageInstaller
from services.executor.messages import InstalledPackage, OutputStream, SessionLimits
from services.executor.wheels import INSTALLER_UID, WheelCache

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the installer changes its user")

TARGET = InstallTarget(python_version="3.13", platform="x86_64-manylinux_2_40")
LIMITS = SessionLimits(packages_bytes=64 * 1024 * 1024, packages_files=2_000, install_seconds=60.0)


class Index:
    """A package index in a folder."""

    def __init__(self, folder: Path) -> None:
        """Begin with no packages."""
        self._folder = folder
        folder.mkdir()

    @property
    def url(self) -> str:
        """Its address."""
        return self._folder.as_uri()

    def add(
        self,
        name: str,
        version: str,
        files: Mapping[str, bytes] | None = None,
        *,
        needs: Sequence[str] = (),
        tag: str = "py3-none-any",
        scripts: str = "",
        record: str | None = None,
    ) -> Path:
        """Add a wheel with these files, whatever their names, and the metadata it needs."""
        info = f"{name}-{version}.dist-info"
        content = dict(files or {f"{name}.py": f"version = {version!r}\n".encode()})
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
        lines += [f"Requires-Dist: {need}" for need in needs]
        content[f"{info}/METADATA"] = "\n".join(lines).encode() + b"\n"
        content[f"{info}/WHEEL"] = (
            f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
        )
        if scripts:
            content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n".encode()
        content[f"{info}/RECORD"] = (
            _record(content, f"{info}/RECORD") if record is None else record.encode()
        )
        folder = self._folder / name.replace("_", "-")
        folder.mkdir(exist_ok=True)
        wheel = folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in content.items():
                archive.writestr(path, data)
        links = "".join(
            f'<a href="{found.name}">{found.name}</a>\n' for found in folder.glob("*.whl")
        )
        (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
        return wheel


def _record(content: Mapping[str, bytes], own: str) -> bytes:
    lines = [f"{own},,"]
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(data)}")
    return "\n".join(lines).encode() + b"\n"


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


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index of our own."""
    return Index(tmp_path / "simple")


@pytest.fixture
def session(tmp_path: Path, index: Index) -> Session:
    """A session that installs from it, below a folder that only root passes."""
    root = tmp_path / "node"
    root.mkdir(mode=0o700)
    return Session(root, index.url)


def left_over(session: Session) -> list[str]:
    """List what installations left in the host's folder."""
    return [
        entry.name
        for entry in (session.packages.parent / "install").iterdir()
        if entry.suffix != ".json"
    ]


async def test_nothing_is_installed_at_first(session: Session) -> None:
    """Before any installation the folder is importable, and empty."""
    installer = session.installer()

    assert installer.installed() == ()
    assert session.current.is_dir()
    assert list(session.current.iterdir()) == []


async def test_a_package_with_what_it_needs(session: Session, index: Index) -> None:
    """What was asked for and what it needs are there, readable for all, root's and unlinked."""
    index.add("leaf", "1.5")
    index.add("tree", "2.0", needs=["leaf>=1"])

    versions = await session.install("tree")

    assert versions == {"leaf": "1.5", "tree": "2.0"}
    assert (session.current / "leaf.py").read_text() == "version = '1.5'\n"
    for path in (session.current / "leaf.py", session.current / "tree.py"):
        status = path.stat()
        assert (status.st_uid, status.st_nlink, status.st_mode) == (0, 1, stat.S_IFREG | 0o644)
    assert session.current.stat().st_mode == stat.S_IFDIR | 0o755
    assert session.current.readlink() == Path("g1")
    assert left_over(session) == []


async def test_installations_add_up(session: Session, index: Index) -> None:
    """A later installation keeps the earlier packages, at their versions, in a new generation."""
    index.add("a", "1.0")
    await session.install("a")
    index.add("a", "2.0")
    index.add("b", "1.0", needs=["a"])

    versions = await session.install("b")

    assert versions == {"a": "1.0", "b": "1.0"}
    assert (session.current / "a.py").read_text() == "version = '1.0'\n"
    assert (session.packages / "g1" / "a.py").exists()
    await session.install("a>=1")
    assert sorted(path.name for path in session.packages.iterdir()) == ["current", "g2"]


async def test_upgrading(session: Session, index: Index) -> None:
    """Only what is named moves to its newest version, and only when asked to."""
    for name in ("a", "b"):
        index.add(name, "1.0")
    await session.install("a", "b")
    for name in ("a", "b"):
        index.add(name, "2.0")

    same = await session.install("a")
    upgraded = await session.install("a", upgrade=True)

    assert same == {"a": "1.0", "b": "1.0"}
    assert upgraded == {"a": "2.0", "b": "1.0"}


async def test_what_changed_is_said(session: Session, index: Index) -> None:
    """The output names what was installed just now, and what was there already."""
    for name in ("a", "b"):
        index.add(name, "1.0")

    await session.install("a")
    await session.install("b")
    await session.install("b")

    assert session.said == [
        (OutputStream.STDOUT, "Successfully installed a-1.0\n"),
        (OutputStream.STDOUT, "Successfully installed b-1.0\n"),
        (OutputStream.STDOUT, "Requirement already satisfied: b==1.0\n"),
    ]


async def test_the_images_packages_are_used(session: Session, index: Index) -> None:
    """What the image has in a version that fits is reported, not installed again."""
    for version in ("1.0", "2.0"):
        index.add("shared", version)
    index.add("old", "1.0", needs=["shared"])
    index.add("new", "1.0", needs=["shared>=2"])
    odd = {"odd": "no-version", "x\n--index-url=http://127.0.0.1:9": "1", "../y": "1"}
    session.target = replace(TARGET, image_packages={"Shared": "1.0", **odd})

    first = await session.install("old")
    there = {path.name for path in session.current.iterdir()}
    second = await session.install("new")

    assert first == {"old": "1.0", "shared": "1.0"}
    assert "shared.py" not in there
    assert second == {"new": "1.0", "old": "1.0", "shared": "2.0"}
    assert (session.current / "shared.py").exists()


async def test_only_the_images_packages(session: Session, index: Index) -> None:
    """Asking for what the image has already makes no new generation."""
    index.add("shared", "1.0")
    session.target = replace(TARGET, image_packages={"shared": "1.0"})

    assert await session.install("shared") == {"shared": "1.0"}
    assert session.current.readlink() == Path("g0")


async def test_scripts_name_the_sandboxs_python(session: Session, index: Index) -> None:
    """A command of a package stays in its folder and tells nothing of the node."""
    index.add("tool", "1.0", scripts="tool = tool:main")

    await session.install("tool")

    script = session.current / "bin" / "tool"
    assert script.read_text().startswith("#!/usr/bin/env python3\n")
    assert script.stat().st_mode & 0o7777 == 0o755
    assert "/root" not in script.read_text()
    assert str(session.root) not in session.words


@pytest.mark.parametrize(
    "trap",
    [
        "../../outside.py",
        "../../../../../../tmp/outside-of-all.py",
        "/tmp/outside-of-all.py",  # noqa: S108 -- where nothing may be written
        "trap-1.0.data/scripts/../../../../outside.py",
        "trap-1.0.data/data/../../../outside.py",
        "trap-1.0.data/headers/../../../../outside.py",
    ],
)
async def test_a_hostile_wheel_stays_inside(
    session: Session, index: Index, tmp_path: Path, trap: str
) -> None:
    """A wheel whose files or RECORD lead outside writes nothing there; the old packages stay."""
    index.add("good", "1.0")
    index.add("trap", "1.0", {"trap.py": b"", trap: b"hostile"})
    await session.install("good")

    with contextlib.suppress(InstallFailedError):
        await session.install("trap")

    inside = (session.current.resolve(), session.root / "uv-cache")
    top = Path("/tmp")  # noqa: S108 -- where some of the names lead
    planted = [*found(tmp_path, "outside*"), *found(top, "outside-of-all.py", deep=False)]
    assert all(any(folder in path.parents for folder in inside) for path in planted)
    assert (session.current / "good.py").exists()


def found(folder: Path, pattern: str, *, deep: bool = True) -> list[Path]:
    """Look for files."""
    return list(folder.rglob(pattern) if deep else folder.glob(pattern))


async def test_a_record_that_leads_outside_removes_nothing(
    session: Session, index: Index, tmp_path: Path
) -> None:
    """Going over to another version deletes nothing that an old RECORD names."""
    victim = tmp_path / "victim"
    victim.touch()
    steps = "../" * 12
    index.add("trap", "1.0", record=f"{steps}{victim},,\ntrap.py,,\n")
    index.add("trap", "2.0")

    for requirement in ("trap==1.0", "trap==2.0"):
        with contextlib.suppress(InstallFailedError):
            await session.install(requirement)

    assert victim.exists()
    assert session.installer().installed() == (InstalledPackage("trap", "2.0"),)


async def test_a_link_in_a_wheel_is_no_link(session: Session, index: Index) -> None:
    """An archive entry marked as a symlink becomes no link in the package folder."""
    wheel = index.add("trap", "1.0")
    entry = zipfile.ZipInfo("leak")
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(entry, "/etc/passwd")

    with contextlib.suppress(InstallFailedError):
        await session.install("trap")

    assert not (session.current / "leak").is_symlink()


async def test_no_setuid_bit_survives(session: Session, index: Index) -> None:
    """Modes in an archive become plain ones."""
    wheel = index.add("trap", "1.0")
    entry = zipfile.ZipInfo("trap-1.0.data/scripts/su")
    entry.create_system = 3
    entry.external_attr = (stat.S_IFREG | 0o6777) << 16
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(entry, "#!python\n")

    await session.install("trap")

    modes = {path.stat().st_mode & 0o7777 for path in session.current.rglob("*") if path.is_file()}
    assert modes <= {0o644, 0o755}


async def test_too_many_bytes_are_stopped(session: Session, index: Index) -> None:
    """A package that unpacks to more than the limit is not installed, and its bytes are gone."""
    index.add("good", "1.0")
    await session.install("good")
    index.add("bomb", "1.0", {"bomb.bin": bytes(200 * 1024 * 1024)})

    with pytest.raises(InstallFailedError, match="over the limit of 67108864 bytes"):
        await session.install("bomb")

    assert session.current.readlink() == Path("g1")
    assert session.installer().installed() == (InstalledPackage("good", "1.0"),)
    assert left_over(session) == []


async def test_too_many_files_are_stopped(session: Session, index: Index) -> None:
    """A package of more files than the limit is not installed."""
    index.add("bomb", "1.0", {f"bomb/{number}": b"" for number in range(3_000)})

    with pytest.raises(InstallFailedError, match="over the limit of 2000 files"):
        await session.install("bomb")

    assert list(session.current.iterdir()) == []


async def test_time_is_limited(session: Session, index: Index) -> None:
    """An installation over its time is ended, and nothing of it runs or stays."""
    index.add("slow", "1.0", {"slow.bin": os.urandom(60 * 1024 * 1024)})
    session.limits = replace(LIMITS, install_seconds=0.05)

    with pytest.raises(InstallTimedOutError, match="took over"):
        await session.install("slow")

    assert left_over(session) == []
    assert installer_processes() == []


async def test_cancelling_ends_it(session: Session, index: Index) -> None:
    """A cancelled installation leaves neither processes nor bytes, and the next one works."""
    index.add("slow", "1.0", {"slow.bin": os.urandom(60 * 1024 * 1024)})
    index.add("good", "1.0")
    installing = asyncio.create_task(session.install("slow"))
    async with asyncio.timeout(10):
        # Another user's processes say nothing of their begin.
        while not installer_processes():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    installing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await installing

    assert installer_processes() == []
    assert left_over(session) == []
    assert await session.install("good") == {"good": "1.0"}


INSTALL_ALONE = """
import asyncio, sys, threading
from pathlib import Path
from tests.integration.test_executor_install import Session
session = Session(Path(sys.argv[1]), sys.argv[2])
# In a thread, as an actor does.
thread = threading.Thread(target=lambda: asyncio.run(session.install(sys.argv[3])))
thread.start()
thread.join()
"""


async def test_an_actor_that_is_killed_takes_uv_with_it(session: Session, index: Index) -> None:
    """After a SIGKILL nothing of an installation runs on, and the next one works."""
    index.add("slow", "1.0", {"slow.bin": os.urandom(60 * 1024 * 1024)})
    index.add("good", "1.0")
    arguments = ("-c", INSTALL_ALONE, str(session.root), str(session.index_url))
    actor = await asyncio.create_subprocess_exec(sys.executable, *arguments, "slow")
    async with asyncio.timeout(30):
        while not installer_processes():  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.005)

    actor.kill()
    await actor.wait()

    async with asyncio.timeout(10):
        while installer_processes():  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.005)
    assert await session.install("good") == {"good": "1.0"}
    alone = await asyncio.create_subprocess_exec(sys.executable, *arguments, "slow")
    assert await alone.wait() == 0
    assert session.installer().installed()[-1] == InstalledPackage("slow", "1.0")


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


async def test_one_installation_a_session(session: Session, index: Index) -> None:
    """Two calls of one installer follow each other; another process's is refused meanwhile."""
    for name in ("a", "b"):
        index.add(name, "1.0")
    installer = session.installer()

    def ignore(_: OutputStream, __: str) -> None:
        """Hear nothing."""

    await asyncio.gather(
        installer.install(["a"], upgrade=False, on_output=ignore),
        installer.install(["b"], upgrade=False, on_output=ignore),
    )
    other = session.installer()._generations.fresh()
    other.open()
    try:
        with pytest.raises(InstallRunningError):
            await session.install("a")
    finally:
        other.close()

    assert [package.name for package in installer.installed()] == ["a", "b"]


async def test_sessions_install_side_by_side(session: Session, index: Index) -> None:
    """Four sessions of a node install at once, from one cache, with no inode in common."""
    index.add("a", "1.0")
    sessions = [replace(session, name=f"s{number}", said=[]) for number in range(4)]

    await asyncio.gather(*(each.install("a") for each in sessions))

    assert len({(each.current / "a.py").stat().st_ino for each in sessions}) == 4


async def test_what_crashed_is_cleaned_up(session: Session, index: Index) -> None:
    """Leftovers of a killed installation go with the next one."""
    index.add("a", "1.0")
    session.installer()
    (session.packages.parent / "install" / "fresh-dead" / "work").mkdir(parents=True)
    (session.packages / "g1").mkdir()
    (session.packages / "g1" / "half.py").touch()

    await session.install("a")

    assert left_over(session) == []
    assert not (session.current / "half.py").exists()


async def test_bad_requirements_run_nothing(session: Session) -> None:
    """What is no plain requirement is refused before any process is started."""
    with pytest.raises(InvalidRequirementError):
        await session.install("good", "git+https://example.org/x")

    assert not (session.root / "uv-cache").exists()


@pytest.mark.parametrize("said", ["", "3", "2.7", "3.13 --pre", "--pre", "None", "3.13\n"])
def test_a_sandbox_that_tells_nonsense_of_itself(said: str) -> None:
    """A version that no Python has is refused, since code may have said it."""
    with pytest.raises(InstallFailedError):
        replace(TARGET, python_version=said)
    with pytest.raises(InstallFailedError):
        replace(TARGET, platform=f"-{said} x")


async def test_conflicts_are_told_in_the_resolvers_words(session: Session, index: Index) -> None:
    """What can't be had together is said by name, and the old packages stay."""
    for version in ("1.0", "2.0"):
        index.add("base", version)
    index.add("old", "1.0", needs=["base<2"])
    await session.install("old")

    with pytest.raises(InstallFailedError, match=r"old.*base"):
        await session.install("base==2.0")

    assert session.installer().installed() == (
        InstalledPackage("base", "1.0"),
        InstalledPackage("old", "1.0"),
    )
    assert {stream for stream, text in session.said if "base" in text} >= {OutputStream.STDERR}


async def test_source_distributions_are_never_built(session: Session, index: Index) -> None:
    """A package without a wheel for this Python fails with what to do."""
    index.add("other", "1.0", tag="cp27-cp27m-win32")

    with pytest.raises(InstallFailedError, match=r"no wheel.*another version"):
        await session.install("other")


async def test_uv_sees_nothing_of_the_node(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs in uv's place finds neither other users' folders nor secrets nor processes."""
    (session.root / "secret").write_text("secret")
    (session.root / "secret").chmod(0o644)
    probe = session.root / "probe"
    probe.write_text(
        "#!/bin/sh\n"
        'echo "error: $(id -u):$(id -g) $$ $(ls /) | $(ls /etc)" >&2\n'
        f"cat {session.root}/secret /etc/shadow /proc/1/environ && echo SEEN >&2\n"
        "for to in /x /usr/x /input/x /etc/x; do touch $to && echo WRITTEN >&2; done\n"
        "env >&2; exit 1\n"
    )
    probe.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv", lambda: probe)
    monkeypatch.setenv("SANDBOX_TEST_SECRET", "hidden")

    with pytest.raises(InstallFailedError):
        await session.install("x")

    assert f"{INSTALLER_UID}:{INSTALLER_UID} 1 " in session.words
    assert "SEEN" not in session.words
    assert "WRITTEN" not in session.words
    assert "hidden" not in session.words
    assert "passwd" not in session.words.splitlines()[0]


@pytest.mark.parametrize(
    ("resolving", "filling", "error"),
    [
        ("rm /install/lock.txt; ln -s /etc/hostname /install/lock.txt", "", InstallFailedError),
        ("rm /install/lock.txt; mkfifo /install/lock.txt", "", InstallFailedError),
        ("echo nonsense! > /install/lock.txt", "", InstallFailedError),
        ("echo x==1 > /install/lock.txt", "ln -s /etc /packages/x", UnsafePackagesError),
        ("echo x==1 > /install/lock.txt", "mkfifo /packages/x", UnsafePackagesError),
        (
            "echo x==1 > /install/lock.txt; ln -s /etc/hostname /install/pins.txt",
            "rm -r /packages; mv /packages /gone; ln -s /etc /packages; exit 1",
            InstallFailedError,
        ),
    ],
)
async def test_a_taken_over_uv_leads_root_nowhere(
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    resolving: str,
    filling: str,
    error: type[Exception],
) -> None:
    """Links and the like that it leaves where root reads and writes are not followed."""
    probe = session.root / "probe"
    probe.write_text(f"#!/bin/sh\n[ $2 = install ] || {{ {resolving}; exit; }}\n{filling}\n")
    probe.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv", lambda: probe)

    with pytest.raises(error):
        await session.install("x")

    assert list(session.current.iterdir()) == []
    assert left_over(session) == []


async def test_the_caches_growth_is_bounded(session: Session, index: Index) -> None:
    """A cache over its limit is emptied, unless somebody installs."""
    index.add("a", "1.0")
    await session.install("a")
    (session.root / "uv-slots" / "looked").unlink()
    cache = WheelCache(session.root, max_bytes=1024)

    async with cache.place():
        cache.tidy()
        kept = cache.contents()
    cache.tidy()

    assert kept
    assert not cache.contents()
    assert await session.install("a>=1") == {"a": "1.0"}


async def test_from_the_public_index(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """`six` comes from the index that uv itself uses, and can be imported."""
    session.index_url = None

    versions = await session.install("six")

    monkeypatch.syspath_prepend(str(session.current))
    six = importlib.import_module("six")
    assert six.__version__ == versions["six"]
    assert Path(six.__file__ or "").parent.resolve() == session.current.resolve()


async def test_no_wheel_for_this_python(session: Session) -> None:
    """`numpy==1.24.0` on 3.13 fails with the resolver's words and what to do."""
    session.index_url = None

    with pytest.raises(InstallFailedError) as raised:
        await session.install("numpy==1.24.0")

    assert "numpy==1.24.0" in raised.value.message
    assert "another version" in raised.value.message
    assert "no wheel" in raised.value.message


async def test_an_unknown_package(session: Session) -> None:
    """A name that nobody has is told as such."""
    session.index_url = None

    with pytest.raises(InstallFailedError) as raised:
        await session.install("sandbox-api-no-such-package")

    assert "sandbox-api-no-such-package" in raised.value.message
    assert "spelling" in raised.value.message


async def test_an_index_that_does_not_answer(session: Session) -> None:
    """Where the index can't be reached, that is what is said."""
    session.index_url = "http://127.0.0.1:9/simple"

    with pytest.raises(InstallFailedError, match="could not be reached"):
        await session.install("six")
