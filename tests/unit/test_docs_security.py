"""`docs/security.md`: every test and page that it names is there."""

import re

from ops.layout import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGE = (DOCS / "security.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_is_there() -> None:
    """A defence without its test would be a claim."""
    named = set(re.findall(r"`((?:unit|integration|e2e|attacks)/test_\w+\.py)`", PAGE))

    assert len(named) > 30
    assert [name for name in sorted(named) if not (REPOSITORY / "tests" / name).is_file()] == []


def test_every_threat_has_a_test() -> None:
    """A row of a table about threats ends with what shows its defence."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count(" | ") == 2]
    threats = [row for row in rows if not row.startswith("| threat")]

    assert len(threats) > 25
    assert [row for row in threats if ".py`" not in row.rpartition(" | ")[2]] == []


def test_every_page_that_is_named_is_there() -> None:
    """Links lead somewhere."""
    links = re.findall(r"\]\((?!https:|#)([^)#]+)", PAGE)

    assert links
    assert [link for link in links if not (DOCS / link).is_file()] == []
