"""Wheels, requirements and a uv that mean harm: installing them reaches nothing of the host's."""

import contextlib
import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from services.executor import uv
from services.executor.errors import InvalidRequirementError
from services.executor.failures import InstallFailedError, UnsafePackagesError
from services.executor.messages import InstalledPackage
from services.executor.wheels import INSTALLER_UID
from tests.support.installations import TARGET, Session, left_over
from tests.support.package_index import Index

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the installer changes its user")


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
