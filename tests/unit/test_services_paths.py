"""Paths as text, before anybody looks at what is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import BadUserInputError
from services.paths import check_path


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("data.csv", "data.csv"),
        ("a/b/c.txt", "a/b/c.txt"),
        ("./a//b/./c", "a/b/c"),
        ("/workspace/a", "a"),
        ("//workspace//a", "a"),
        ("..a/b..", "..a/b.."),
        ("ä\n'\"", "ä\n'\""),
        ("a" * 255, "a" * 255),
    ],
)
def test_paths_below_the_workspace_become_relative(path: str, plain: str) -> None:
    """Both forms mean the same file."""
    assert check_path(path) == plain


@pytest.mark.parametrize("path", [".", "", "/workspace", "/workspace/", "./"])
def test_the_workspace_itself_is_a_folder_only(path: str) -> None:
    """It can be listed, and nothing else."""
    assert check_path(path, folder=True) == "."
    with pytest.raises(BadUserInputError):
        check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../b",
        "/workspace/../etc/passwd",
        "/srv/data.csv",
        "/",
        "/workspacex/a",
        "a\0b",
        "a\ud800",
        "a/" * 3000,
        "a" * 256,
        "é" * 128,
        "folder/",
    ],
)
def test_paths_that_leave_are_refused(path: str) -> None:
    """Before anything is read or written."""
    with pytest.raises(BadUserInputError) as caught:
        check_path(path)

    assert caught.value.extensions["field"] == "path"


def test_a_path_outside_is_told_where_the_workspace_is() -> None:
    """The message says what to do."""
    with pytest.raises(BadUserInputError, match="/workspace"):
        check_path("/srv/data.csv")


@given(st.text())
def test_no_path_that_is_taken_leads_outside(path: str) -> None:
    """Whatever is taken has neither a root nor a way up."""
    try:
        plain = check_path(path, folder=True)
    except BadUserInputError:
        return

    assert not plain.startswith("/")
    assert ".." not in plain.split("/")
    assert "\0" not in plain
