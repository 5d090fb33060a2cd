"""What may be asked to be installed, and how it adds to what was asked before."""

import pytest
from packaging.requirements import Requirement

from services.executor.errors import InvalidRequirementError
from services.executor.requirements import (
    merge_requirements,
    parse_requirement,
    parse_requirements,
)


@pytest.mark.parametrize(
    "text",
    [
        "numpy",
        "numpy==2.1.0",
        " numpy >= 2 , < 3 ",
        "uvicorn[standard]>=0.30",
        "zope.interface~=7.0",
        "torch==2.3.0+cpu",
        "pandas!=2.2.*",
        "x==1!2.0rc1",
    ],
)
def test_plain_requirements_are_taken(text: str) -> None:
    """A name with versions and extras is a requirement."""
    requirement = parse_requirement(text)

    assert requirement.url is None
    assert parse_requirement(str(requirement)) == requirement


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "git+https://example.org/x.git",
        "https://example.org/x.whl",
        "x @ https://example.org/x.whl",
        "x @ file:///etc/passwd",
        "./x",
        "../x",
        "/etc/passwd",
        "x/y",
        "-r file",
        "-e .",
        "--index-url https://example.org",
        "numpy --index-url https://example.org",
        "x; rm",
        "x; python_version > '3'",
        "x;",
        "x y",
        "x\ny",
        "x\\\n--pre",
        "x==1 # comment",
        "x===../y",
        "x==1\0",
        "x\x1b[31m",
        "pаndas",  # noqa: RUF001 -- a Cyrillic letter is the point
        "$(id)",
        "x" * 201,
        "@x",
        "[all]",
        "x[a;b]",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Addresses, paths, options, markers and tricks are an `InvalidRequirementError`."""
    with pytest.raises(InvalidRequirementError):
        parse_requirement(text)


def test_the_number_of_requirements_is_bounded() -> None:
    """One to fifty at once."""
    assert len(parse_requirements(["x"] * 50)) == 50
    with pytest.raises(InvalidRequirementError):
        parse_requirements([])
    with pytest.raises(InvalidRequirementError) as raised:
        parse_requirements(["x"] * 51)
    assert raised.value.details["limit"] == 50


def test_later_requirements_replace_earlier_versions_and_add_extras() -> None:
    """What is asked for last holds, by canonical name, with the extras of both."""
    earlier = {"a-b": Requirement("A_b[x]==1"), "c": Requirement("c<3")}

    merged = merge_requirements(earlier, [Requirement("a.B[y]>=2"), Requirement("d")])

    assert {name: str(found) for name, found in merged.items()} == {
        "a-b": "a.B[x,y]>=2",
        "c": "c<3",
        "d": "d",
    }
    assert str(earlier["a-b"]) == "A_b[x]==1"


def test_two_of_one_name_in_one_call_both_hold() -> None:
    """Asking for `x>1 x<3` at once means both."""
    merged = merge_requirements({}, [Requirement("x>1"), Requirement("X<3")])

    assert merged["x"].specifier == Requirement("x>1,<3").specifier
