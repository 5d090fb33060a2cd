"""How operations are measured: aliases, directives, depth."""

from collections.abc import Callable

import pytest
from graphql import (
    OperationDefinitionNode,
    build_schema,
    get_introspection_query,
    parse,
    validate,
)

from schema.measures import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_DIRECTIVES,
    Measure,
    Meter,
    SizeLimits,
)

SCHEMA = build_schema("type Query { a: Query b: Int }")


def measure(query: str) -> Measure:
    """Measure a document's only operation."""
    document = parse(query)
    [operation] = [
        each for each in document.definitions if isinstance(each, OperationDefinitionNode)
    ]
    return Meter(document).measure(operation)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ b }", 0),
        ("{ x: b y: b }", 2),
        ("{ x: a { y: a { z: b } } }", 3),
        ("{ ... { x: b } ... on Query { y: b } }", 2),
        ("{ a { ...f } ...f } fragment f on Query { x: b }", 2),
        ("{ ...f } fragment f on Query { ...g x: b } fragment g on Query { y: b }", 2),
        ("{ ...nothing }", 0),
        ("{ ...f } fragment f on Query { x: b ...f }", 1),
    ],
)
def test_aliases_are_counted_where_they_are_spread(query: str, expected: int) -> None:
    """A fragment counts as often as it is spread, at any depth; cycles and gaps do no harm."""
    assert measure(query).aliases == expected


def test_fragments_that_spread_each_other_twice_are_counted_at_once() -> None:
    """What doubles with each of 300 fragments is counted without being written out."""
    last = 300
    spreads = "".join(
        f"fragment f{n} on Query {{ ...f{n + 1} a {{ ...f{n + 1} }} }} " for n in range(last)
    )

    found = measure(f"{{ ...f0 }} {spreads} fragment f{last} on Query {{ x: b @c }}")

    assert found == Measure(2**last, 2**last, last + 1)


SCHEMA_ASKED = get_introspection_query()
FULL_TYPE = SCHEMA_ASKED[SCHEMA_ASKED.index("fragment FullType") :]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ('{ a: __schema { types { name } } b: __type(name: "Query") { name } }', None),
        ("{ x: a { y: b } __schema { types { name } } }", None),
        ("{ " + "".join(f"a{n}: __schema {{ types {{ name }} }} " for n in range(6)) + "}", "5 of"),
        (
            """{ ...f ...f } fragment f on Query { ...g ...g ...g }
            fragment g on Query { __type(name: "Query") { name } }""",
            "5 of",
        ),
        ("{ __schema { x: types { name } } }", "no aliases"),
        (
            """{ a { b } ...f } fragment f on Query { __schema { types { ...g } } }
            fragment g on __Type { x: name }""",
            "no aliases",
        ),
        (
            "{ __schema { "
            + "".join(f"a{n}: types {{ ...FullType }} " for n in range(90))
            + "} }"
            + FULL_TYPE,
            "no aliases",
        ),
    ],
)
def test_the_schema_is_told_a_few_times(query: str, problem: str | None) -> None:
    """As often as tools ask for it, never a hundred times by aliases."""
    problems = measure(query).problems()

    assert problems == [] if problem is None else problem in " ".join(problems)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ b }", (0, 1)),
        ("query @x { a @y { b @y @z } }", (4, 2)),
        ("{ a { ...f @x ... @x { b } } } fragment f on Query { a { a { b @y } } }", (3, 4)),
        ("{ ...f } fragment f on Query { a { ...f } }", (0, 1)),
    ],
)
def test_directives_and_depth(query: str, expected: tuple[int, int]) -> None:
    """Both are counted through fragments, whatever stands there; cycles do no harm."""
    found = measure(query)

    assert (found.directives, found.depth) == expected


def refusals(query: str) -> list[str]:
    """Return what is said of a document by the limits alone."""
    return [error.message for error in validate(SCHEMA, parse(query), [SizeLimits])]


@pytest.mark.parametrize(
    ("limit", "write"),
    [
        (MAX_ALIASES, lambda n: "{" + " ".join(f"x{each}: b" for each in range(n)) + "}"),
        (MAX_DIRECTIVES, lambda n: "{" + "b @skip(if: false) " * n + "}"),
        (MAX_DEPTH, lambda n: "{ a " * (n - 1) + "{ b }" + "}" * (n - 1)),
    ],
    ids=["aliases", "directives", "depth"],
)
def test_limits(limit: int, write: Callable[[int], str]) -> None:
    """As much as the limit passes, one more does not, and the error says the limit."""
    over = refusals(write(limit + 1))

    assert refusals(write(limit)) == []
    assert len(over) == 1
    assert f"at most {limit}" in over[0]


def test_introspection_of_tools_passes() -> None:
    """What GraphiQL and code generators send is within all limits."""
    assert refusals(get_introspection_query()) == []
