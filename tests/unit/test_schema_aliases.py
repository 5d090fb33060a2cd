"""The limit of aliases."""

import pytest
from graphql import OperationDefinitionNode, build_schema, parse, validate

from schema.aliases import MAX_ALIASES, AliasCounter, AliasLimit

SCHEMA = build_schema("type Query { a: Query b: Int }")


def count(query: str) -> int:
    """Count the aliases of a document's first operation."""
    document = parse(query)
    [operation] = [
        each for each in document.definitions if isinstance(each, OperationDefinitionNode)
    ]
    return AliasCounter(document).count(operation)


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
    assert count(query) == expected


def test_fragments_that_spread_each_other_twice_are_counted_at_once() -> None:
    """What doubles with each of 300 fragments is counted without being written out."""
    last = 300
    spreads = "".join(
        f"fragment f{n} on Query {{ ...f{n + 1} a {{ ...f{n + 1} }} }} " for n in range(last)
    )

    assert count(f"{{ ...f0 }} {spreads} fragment f{last} on Query {{ x: b }}") == 2**last


@pytest.mark.parametrize(("number", "refusals"), [(MAX_ALIASES, 0), (MAX_ALIASES + 1, 1)])
def test_the_limit(number: int, refusals: int) -> None:
    """As many as the limit pass, one more does not, and the error says the limit."""
    document = parse("{" + " ".join(f"x{n}: b" for n in range(number)) + "}")

    errors = validate(SCHEMA, document, [AliasLimit])

    assert len(errors) == refusals
    assert all(str(MAX_ALIASES) in error.message for error in errors)
