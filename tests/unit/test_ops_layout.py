"""Folders, the instance's name, and state files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.layout import REPOSITORY, Layout, write_once


def test_an_instance_is_named_once(tmp_path: Path) -> None:
    """Many at once agree on one name of eight hex digits, and it stays."""
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: Layout.of(tmp_path / "data").instance(), range(32)))

    (name,) = names
    assert len(name) == 8
    assert int(name, 16) >= 0
    assert Layout.of(tmp_path / "data").instance() == name


def test_what_is_secret_is_the_owners_alone(tmp_path: Path) -> None:
    """Folders of secrets and sandboxes are closed to others."""
    layout = Layout.of(tmp_path).prepare()
    try:
        for folder in (layout.secrets, layout.sandboxes):
            assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        layout.short.rmdir()


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A link planted in /tmp in the socket folder's place stops the set-up."""
    layout = Layout.of(tmp_path)
    layout.short.symlink_to(tmp_path)
    try:
        with pytest.raises(PermissionError, match="somebody else's"):
            layout.prepare()
    finally:
        layout.short.unlink()


def test_a_relative_folder_counts_from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same DATA_DIR means the same folder, wherever a command is given."""
    monkeypatch.chdir("/")

    assert Layout.of(".data").data_dir == REPOSITORY / ".data"


def test_the_first_writer_wins(tmp_path: Path) -> None:
    """What is written once is never replaced, and has its mode from the start."""
    path = tmp_path / "secret"

    write_once(path, "first", mode=0o600)
    write_once(path, "second", mode=0o600)

    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_state_is_read_back(tmp_path: Path) -> None:
    """State files hold what was written; what is missing or torn is empty."""
    layout = Layout.of(tmp_path)
    layout.write_state("ray", {"address": "127.0.0.1:1"})
    (layout.state / "torn.json").write_text('{"a"')

    assert layout.read_state("ray") == {"address": "127.0.0.1:1"}
    assert layout.read_state("torn") == {}
    assert layout.read_state("none") == {}
