"""The page for those who write a client, against what it is about."""

import re

from ops.layout import REPOSITORY
from services.errors import ErrorCode

PAGE = (REPOSITORY / "docs" / "api.md").read_text()


def test_every_error_code_has_a_row() -> None:
    """In the schema's order, each once, with what to do and whether to try again."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)

    assert [code for code, *_ in rows] == [code.value for code in ErrorCode]


def test_the_way_to_follow_is_the_one_that_is_tested() -> None:
    """What is printed there is what the clients' tests run."""
    [shown] = [text for text in re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL) if "follow" in text]

    assert (REPOSITORY / "tests" / "clients" / "follow.mjs").read_text().endswith(shown)


def test_links_lead_somewhere() -> None:
    """Each relative link names a file or folder of the repository."""
    for target in re.findall(r"\]\((\.\./[^)#]+)", PAGE):
        assert (REPOSITORY / "docs" / target).exists(), target
