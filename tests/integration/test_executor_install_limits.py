"""Installations that are too large, cut short or at once: each ends whole, or leaves nothing."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.executor import generations
from services.executor.failures import InstallFailedError, InstallRunningError, InstallTimedOutError
from services.executor.messages import InstalledPackage, OutputStream
from services.executor.removal import TreeBusyError, remove_tree
from services.executor.wheels import WheelCache
from tests.support.installations import LIMITS, Session, installer_processes, left_over
from tests.support.package_index import Index

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the installer changes its user")


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


@pytest.mark.alone
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
from tests.support.installations import Session
session = Session(Path(sys.argv[1]), sys.argv[2])
# In a thread, as an actor does.
thread = threading.Thread(target=lambda: asyncio.run(session.install(sys.argv[3])))
thread.start()
thread.join()
"""


@pytest.mark.alone
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


async def test_a_cache_that_cannot_be_tidied(
    session: Session, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    """The packages are in place, so that the installation has succeeded; the log says the rest."""
    index.add("a", "1.0")
    session.installer()
    slots = session.root / "uv-slots"
    slots.mkdir(mode=0o700)
    (slots / "looked").symlink_to("nowhere/looked")

    assert await session.install("a") == {"a": "1.0"}
    assert "not tidied" in caplog.text


async def test_leftovers_that_cannot_be_removed(
    session: Session,
    index: Index,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are no failure of what is in place; the next installation removes them."""
    index.add("a", "1.0")
    index.add("b", "1.0")

    def busy(parent: int, name: bytes) -> None:
        if name.startswith(b"fresh-"):
            raise TreeBusyError
        remove_tree(parent, name)

    with monkeypatch.context() as patched:
        patched.setattr(generations, "remove_tree", busy)
        assert await session.install("a") == {"a": "1.0"}
    left = left_over(session)
    await session.install("b")

    assert len(left) == 1
    assert "not removed" in caplog.text
    assert left_over(session) == []
