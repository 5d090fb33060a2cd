"""Package names that may be installed, and what only looks like one."""

import pytest

from services.errors import BadUserInputError
from services.requirements import check_requirements

GOOD = [
    "numpy",
    "numpy==2.1.0",
    "pandas[excel,parquet]>=2,<3",
    " spaced ~= 1.0 ",
    "a" * 200,
    "six==1.*",
    "local==1.0+cpu",
    "zope.interface",
]
BAD = [
    "",
    " ",
    "git+https://example.com/x.git",
    "x @ https://example.com/x.whl",
    "x@file:///etc/passwd",
    "https://example.com/x.whl",
    "./x",
    "../x",
    "/x",
    "x/y",
    "x.whl; rm -rf /",
    "-r file",
    "--index-url https://example.com",
    "-e .",
    "x; rm",
    'x; python_version > "3"',
    "x\n--index-url y",
    "x\0",
    "x$(id)",
    "x`id`",
    "x|y",
    "x&y",
    "é",
    "x===1.0",
    "x===1.0 --hash=sha256:0",
    "a" * 201,
    "numpy==",
    "numpy 2.1",
    "[x]",
]


@pytest.mark.parametrize("package", GOOD)
def test_names_with_versions_and_extras_are_taken(package: str) -> None:
    """As they are, without space around."""
    assert check_requirements([package]) == (package.strip(),)


@pytest.mark.parametrize("package", BAD)
def test_nothing_else_is_taken(package: str) -> None:
    """No URL, path, option, marker or shell; even beside a good one."""
    with pytest.raises(BadUserInputError) as caught:
        check_requirements(["numpy", package])

    assert caught.value.extensions["field"] == "packages"


@pytest.mark.parametrize("number", [0, 51])
def test_no_names_and_too_many_are_refused(number: int) -> None:
    """1 to 50 are allowed."""
    with pytest.raises(BadUserInputError):
        check_requirements(["numpy"] * number)


def test_fifty_names_are_taken_duplicates_too() -> None:
    """The resolver knows what to do with the same name twice."""
    assert len(check_requirements(["numpy"] * 50)) == 50
