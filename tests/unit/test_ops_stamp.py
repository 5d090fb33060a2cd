"""When things are made again."""

from pathlib import Path

from ops.stamp import digest, is_current


def test_a_digest_changes_with_names_and_contents(tmp_path: Path) -> None:
    """Every way in which inputs can differ shows, moved bytes between files included."""
    one, two = tmp_path / "one", tmp_path / "two"
    seen = set()
    for first, second in (("a", "b"), ("ab", ""), ("", "ab"), ("b", "a")):
        one.write_text(first)
        two.write_text(second)
        seen |= {digest([one, two]), digest([two, one]), digest([tmp_path])}

    # A folder and its two files in order are the same inputs.
    assert len(seen) == 8
    assert digest([tmp_path]) == digest([tmp_path])
    assert digest(["text"]) != digest(["other"])


def test_a_stamp_tells_what_it_was_made_from(tmp_path: Path) -> None:
    """No stamp and another stamp mean: make it."""
    stamp = tmp_path / "stamp"

    assert not is_current(stamp, "x")
    stamp.write_text("x\n")
    assert is_current(stamp, "x")
    assert not is_current(stamp, "y")
