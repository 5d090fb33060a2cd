"""What a caller may name as a path, before anything is looked at on disk."""

import pytest

from services.executor.errors import InvalidPathError
from services.executor.paths import normalise, shown_name


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "."),
        (".", "."),
        ("/workspace", "."),
        ("/workspace/", "."),
        ("a", "a"),
        ("./a//b/./c/", "a/b/c"),
        ("/workspace/a/b", "a/b"),
        ("//workspace//a", "a"),
        ("workspace/a", "workspace/a"),
        ("~/a b", "~/a b"),
        ("..a/b..", "..a/b.."),
        ("naïve/\N{SNOWMAN}\n", "naïve/\N{SNOWMAN}\n"),
        ("a\\..\\b", "a\\..\\b"),
        ("a" * 255, "a" * 255),
    ],
)
def test_sound_paths_become_relative(path: str, text: str) -> None:
    """A sound path is written relative to the workspace, without empty parts."""
    assert normalise(path).text == text


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "a/../b",
        "/workspace/../etc/passwd",
        "a/..",
        "/",
        "/etc/passwd",
        "/tmp/data.csv",  # noqa: S108 -- a path that is refused
        "/workspaces/a",
        "/workspacefoo",
        "a\0b",
        "\0",
        "\ud800",
        "a" * 256,
        "\N{SNOWMAN}" * 86,
        "/".join(["a" * 200] * 21),
    ],
)
def test_unsound_paths_are_refused(path: str) -> None:
    """Whatever leaves the workspace, or the kernel would not take, is an `InvalidPathError`."""
    with pytest.raises(InvalidPathError):
        normalise(path)


def test_path_outside_names_the_workspace() -> None:
    """The message for a path outside says where files belong."""
    with pytest.raises(InvalidPathError, match="/workspace"):
        normalise("/data/x.csv")


def test_longest_path_is_taken() -> None:
    """4,095 bytes are a path, one more is none."""
    longest = "/".join(["a" * 255] * 16)

    assert len(longest) == 4095
    assert normalise(longest).text == longest
    with pytest.raises(InvalidPathError):
        normalise("b" + "/" + longest)


def test_names_that_are_not_utf8_are_shown_with_replacement() -> None:
    """Any bytes can be shown, and what is UTF-8 is shown as it is."""
    assert shown_name(b"\xff\xfea") == "��a"
    assert shown_name("é".encode()) == "é"
