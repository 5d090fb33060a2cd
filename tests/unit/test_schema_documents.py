"""Documents that are refused before anything of them is run."""

from typing import Any

import pytest

from resolvers.context import Context
from schema.build import Schema, build_schema
from tests.support.stub_services import Stubs, viewer

OPEN = build_schema()
CLOSED = build_schema(introspection=False)


async def errors(schema: Schema, query: str, variables: Any = None) -> list[tuple[str, str]]:  # noqa: ANN401 - JSON may be anything
    """Return code and message of each error of an operation."""
    context = Context(Stubs().services(), "request", viewer())
    result = await schema.execute(query, variable_values=variables, context_value=context)
    return [((each.extensions or {})["code"], each.message) for each in result.errors or ()]


def nested(field: str, times: int, inner: str) -> str:
    """Write one selection within the other."""
    return f"{field} {{ " * times + inner + " }" * times


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { types { " + nested("fields { type", 4, "name").replace("}", "} }") + " } } }",
        '{ __type(name: "Query") { ' + nested("ofType", 20, "name") + " } }",
        "{ ...a } fragment a on Query { viewer { id } ...b } fragment b on Query { ...a }",
        "{ " + "a: viewer { id } " * 101 + "}",
        "{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(101)) + " }",
        "{ viewer { id " + "role @skip(if: false) " * 101 + "} }",
        "{" + " viewer { id }" * 1000 + "}",
    ],
    ids=[
        "introspection",
        "introspection of one type",
        "cycle",
        "same alias",
        "aliases",
        "directives",
        "tokens",
    ],
)
async def test_bombs(query: str) -> None:
    """Deep introspection, cycles of fragments, and too much of anything, the second time too."""
    for _ in range(2):
        codes = {code for code, _ in await errors(OPEN, query)}
        assert codes <= {"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"}
        assert codes


@pytest.mark.parametrize("depth", [100, 400, 820])
async def test_depth(depth: int) -> None:
    """However deep it is, it is refused by what the limit is."""
    found = await errors(OPEN, "{ " + nested("viewer", depth, "id") + " }")

    assert found[0][0] in {"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"}
    assert "deep" in " ".join(message for _, message in found)


@pytest.mark.parametrize(
    "query", ["{ __schema { types { name } } }", '{ a: __type(name: "Query") { name } }']
)
async def test_introspection(query: str) -> None:
    """It is there where it is on; `__typename` always is."""
    refused = await errors(CLOSED, query)

    assert {code for code, _ in refused} == {"GRAPHQL_VALIDATION_FAILED"}
    assert "introspection" in refused[0][1].lower()
    assert await errors(OPEN, query) == []
    assert await errors(CLOSED, "{ __typename viewer { __typename } }") == []


RUN = "mutation ($input: ExecuteCodeInput!) { executeCode(input: $input) { execution { id } } }"
LIST = "query ($f: SandboxFilter) { sandboxes(filter: $f) { totalCount } }"


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ viewr { id } }", None),
        ('{ sandbox(idd: "x") { id } }', None),
        ('{ node(id: "x") { ... on Sandbx { id } } }', None),
        ("{ sandboxes(filter: {status: [STOPED]}) { totalCount } }", None),
        ("{ sandboxes(filter: {nameContain: null}) { totalCount } }", None),
        (RUN, {"input": {"sandboxId": "x", "code": "1", "afte": 1}}),
        (LIST, {"f": {"status": ["STOPED"]}}),
    ],
)
async def test_suggestions(query: str, variables: dict[str, object] | None) -> None:
    """Where introspection is off, errors guess no names either."""
    told = " ".join(message for _, message in await errors(OPEN, query, variables))
    untold = " ".join(message for _, message in await errors(CLOSED, query, variables))

    assert "Did you mean" in told
    assert "Did you mean" not in untold
    assert untold


async def test_what_is_not_compared_to_its_end_says_what_to_do() -> None:
    """A document within all other limits may still hold too many fields of one name."""
    [(code, message)] = await errors(OPEN, f"{{ {'__typename ' * 400} }}")

    assert code == "GRAPHQL_VALIDATION_FAILED"
    assert "write each field" in message
