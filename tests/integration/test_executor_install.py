"""Installing packages on the node with the real uv: from an index of our own, and the public."""

import importlib
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from services.executor.failures import InstallFailedError
from services.executor.messages import InstalledPackage, OutputStream
from tests.support.installations import TARGET, Session, left_over
from tests.support.package_index import Index

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the installer changes its user")


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


OLDER = replace(TARGET, python_version="3.12.9")


def add_for(index: Index, name: str, version: str, *pythons: str) -> None:
    """Add a compiled package, which says for which Python it is."""
    for python in pythons:
        files = {f"{name}.py": f"built_for = {python!r}\n".encode()}
        index.add(name, version, files, tag=f"{python}-{python}-manylinux_2_28_x86_64")


async def test_packages_are_of_the_images_python(session: Session, index: Index) -> None:
    """Once the image has another Python, an installation brings all that was asked for anew."""
    add_for(index, "a", "1.0", "cp313", "cp312")
    add_for(index, "b", "1.0", "cp313")
    add_for(index, "b", "0.9", "cp312")
    index.add("c", "1.0")
    await session.install("a", "b", "c")
    index.add("c", "2.0")
    session.said.clear()
    session.target = OLDER

    versions = await session.install("a")

    assert versions == {"a": "1.0", "b": "0.9", "c": "1.0"}
    assert session.words == "Successfully installed a-1.0 b-0.9 c-1.0\n"
    for name in "ab":
        assert (session.current / f"{name}.py").read_text() == "built_for = 'cp312'\n"
    await session.install("a")
    assert session.words.endswith("Requirement already satisfied: a==1.0\n")


async def test_nothing_for_another_python_stays(session: Session, index: Index) -> None:
    """Not even where the new image has itself all that was asked for."""
    add_for(index, "a", "1.0", "cp313", "cp312")
    await session.install("a")
    session.target = replace(OLDER, image_packages={"a": "1.0"})

    assert await session.install("a") == {"a": "1.0"}
    assert list(session.current.iterdir()) == []


async def test_another_patch_of_python_is_no_other(session: Session, index: Index) -> None:
    """What is there stays where it is."""
    index.add("a", "1.0")
    await session.install("a")
    session.target = replace(TARGET, python_version="3.13.7")
    await session.install("a")

    assert session.current.readlink() == Path("g1")


async def test_packages_of_before_the_target_was_noted(session: Session, index: Index) -> None:
    """They keep their versions, and are installed anew with the next ones."""
    add_for(index, "a", "1.0", "cp313", "cp312")
    index.add("b", "1.0")
    await session.install("a")
    [noted] = (session.packages.parent / "install").glob("g*.json")
    state = json.loads(noted.read_text())
    del state["target"]
    noted.write_text(json.dumps(state))
    add_for(index, "a", "2.0", "cp313", "cp312")
    session.target = OLDER

    assert session.installer().installed() == (InstalledPackage("a", "1.0"),)
    assert await session.install("b") == {"a": "1.0", "b": "1.0"}
    assert (session.current / "a.py").read_text() == "built_for = 'cp312'\n"


async def test_scripts_name_the_sandboxs_python(session: Session, index: Index) -> None:
    """A command of a package stays in its folder and tells nothing of the node."""
    index.add("tool", "1.0", scripts="tool = tool:main")

    await session.install("tool")

    script = session.current / "bin" / "tool"
    assert script.read_text().startswith("#!/usr/bin/env python3\n")
    assert script.stat().st_mode & 0o7777 == 0o755
    assert "/root" not in script.read_text()
    assert str(session.root) not in session.words


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


@pytest.mark.long
async def test_an_index_that_does_not_answer(session: Session) -> None:
    """Where the index can't be reached, that is what is said."""
    session.index_url = "http://127.0.0.1:9/simple"

    with pytest.raises(InstallFailedError, match="could not be reached"):
        await session.install("six")
