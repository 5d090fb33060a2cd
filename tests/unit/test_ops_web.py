"""Node for the web pages: from Debian where it is missing, and a word where it can't be had."""

from pathlib import Path

import pytest

from ops import process, web
from ops.settings import Settings


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder whose programs are all that there are."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(process, "SYSTEM_PATH", str(folder))
    return folder


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Give a folder of pages that have not been built."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "package.json").write_text("{}")
    return folder


def program(folder: Path, name: str, does: str) -> None:
    """Write a program of one line."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


def test_node_comes_from_debian(programs: Path, tmp_path: Path) -> None:
    """Where npm is missing apt-get is asked for it; where it is there, for nothing."""
    asked = tmp_path / "asked"
    program(programs, "apt-get", f'echo "$@" >> {asked}')
    web.ensure_node()
    installed = asked.read_text()
    program(programs, "npm", "")
    asked.unlink()
    web.ensure_node()

    assert installed.splitlines()[-1] == "install -qy --no-install-recommends nodejs npm"
    assert not asked.exists()


@pytest.mark.usefixtures("programs")
def test_no_node_is_no_fault(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it can't be installed either, the set-up says so in a line and goes on."""
    web.ensure_node()
    web.ensure(pages)

    assert capsys.readouterr().err.startswith("! No web pages without Node.")
    assert not (pages / "dist").exists()


def test_an_old_node_is_named(
    programs: Path, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is too old builds nothing, and is not replaced: it is somebody's."""
    program(programs, "npm", "exit 1")
    program(programs, "node", "echo v12.22.12")
    web.ensure_node()
    web.ensure(pages)

    said = capsys.readouterr().err
    assert "Node 18 or newer" in said
    assert "12" in said


@pytest.mark.parametrize(
    ("environ", "served"),
    [
        ({}, True),
        ({"GRAPHIQL": "false"}, False),
        ({"ENVIRONMENT": "production"}, False),
        ({"ENVIRONMENT": "production", "GRAPHIQL": "True"}, True),
    ],
)
def test_where_no_page_is_served_none_is_built(environ: dict[str, str], served: bool) -> None:  # noqa: FBT001 - cases
    """The set-up has Node and the pages where the API shows them, and nowhere else."""
    assert Settings.read(environ).graphiql is served
