"""How many nodes an operation may ask for."""

from typing import Any

import pytest
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from resolvers.context import Context
from schema.build import build_schema
from schema.costs import MAX_NODES, connections_of
from tests.support.stub_services import Stubs, viewer

SCHEMA = build_schema()
NESTED = "nodes { executions(first: 100) { nodes { id } } }"
ONE = "fragment f on Sandbox { executions(first: 1) { totalCount } }"
MERGED = """{ sandboxes(first: 100) { nodes { ...f ...g } } }
    fragment f on Sandbox { executions(first: 99) { nodes { id } } }
    fragment g on Sandbox { executions(first: 99) { nodes { status } } }"""
DEEPER = """{ sandboxes { nodes { executions { nodes { sandbox { executions { nodes { sandbox {
    executions { totalCount } } } } } } } } } }"""
BY_NODE = """{ node(id: "x") { ... on Sandbox { executions(first: 100) { nodes { sandbox {
    executions(first: 100) { totalCount } } } } } } }"""
BY_VARIABLES = """query ($n: Int! = 100, $m: Int! = 100, $deep: Boolean = true) {
    sandboxes(first: $n) { nodes { executions(first: $m) @include(if: $deep) {
        nodes { id } } } } }"""


async def run(query: str, variables: dict[str, Any] | None = None) -> ExecutionResult:
    """Run an operation as a user who has nothing."""
    context = Context(Stubs().services(), "request", viewer())
    return await SCHEMA.execute(query, variable_values=variables, context_value=context)


async def nodes(query: str, variables: dict[str, Any] | None = None) -> int | None:
    """Return the number of nodes that is refused; None where nothing is."""
    result = await run(query, variables)
    if result.errors is None:
        return None
    [error] = result.errors
    told = error.extensions or {}
    assert (told["code"], told["field"]) == ("BAD_USER_INPUT", "first")
    assert told["limitNodes"] == MAX_NODES
    assert f"{told['nodes']:,}" in error.message
    assert f"{MAX_NODES:,}" in error.message
    assert isinstance(told["nodes"], int)
    return told["nodes"]


def test_connections_are_found_in_the_schema() -> None:
    """Those that there are now, and those that come."""
    assert connections_of(SCHEMA._schema) == {"sandboxes": 20, "executions": 20}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"{{ sandboxes(first: 100) {{ {NESTED} }} }}", 10_100),
        (f"{{ sandboxes(first: 99) {{ {NESTED} }} }}", None),
        (
            f"{{ sandboxes(first: 100) {{ edges {{ node {{ ...f }} }} {NESTED} }} }} {ONE}",
            10_200,
        ),
        (MERGED, None),
        (DEEPER, 168_420),
        ("{ sandboxes { nodes { executions { nodes { sandbox { name } } } } } }", None),
        (BY_NODE, 10_100),
        ("{ viewer { role } sandboxes { totalCount } }", None),
        (
            "{ sandboxes(first: 100) { nodes { "
            + " ".join(f"a{n}: stats {{ processes }}" for n in range(100))
            + " } } }",
            10_100,
        ),
    ],
)
async def test_nodes_of_connections(query: str, expected: int | None) -> None:
    """A page counts as often as it is below others; merged fields count once."""
    assert await nodes(query) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 10_100),
        ({"n": 50}, None),
        ({"n": 100.0, "m": 100}, 10_100),
        ({"m": 99}, None),
        ({"deep": False}, None),
        ({"n": 2_000_000_000}, 202_000_000_000),
    ],
)
async def test_variables_count_by_their_value(
    variables: dict[str, Any], expected: int | None
) -> None:
    """As they are sent, or as the document has them where they are not; each time anew."""
    assert await nodes(BY_VARIABLES, variables) == expected


@pytest.mark.parametrize("value", ["100", None, [1], True, 1.5])
async def test_what_is_no_number_is_refused_as_such(value: object) -> None:
    """The variable is at fault, not the cost."""
    result = await run(BY_VARIABLES, {"n": value})

    assert result.errors is not None
    assert result.errors[0].extensions == {"code": "BAD_USER_INPUT", "field": "n"}


async def test_the_chosen_operation_counts() -> None:
    """Another one in the same document may be as large as it will."""
    query = (
        "query Small { sandboxes { totalCount } }"
        f" query Large {{ sandboxes(first: 100) {{ {NESTED} }} }}"
    )
    context = Context(Stubs().services(), "request", viewer())
    small, large = [
        await SCHEMA.execute(query, context_value=context, operation_name=name)
        for name in ("Small", "Large")
    ]

    assert small.errors is None
    assert large.errors is not None


async def test_a_subscription_is_refused_before_it_begins() -> None:
    """Each of its events would read as much."""
    deep = f"sandbox {{ executions(first: 100) {{ nodes {{ sandbox {{ {NESTED[8:-2]} }} }} }} }}"
    found = await SCHEMA.stream(
        f"subscription {{ sandboxChanged {{ {deep} }} }}",
        context_value=Context(Stubs().services(), "request", viewer()),
    )
    [result] = [each async for each in found]

    assert isinstance(result, PreExecutionError)
    assert result.errors is not None
    assert (result.errors[0].extensions or {})["nodes"] == 10_100


async def test_counting_ends() -> None:
    """Fragments that spread the next one twice are walked through no deeper than is allowed."""
    spreads = "".join(
        f"fragment f{n} on Sandbox {{ executions(first: 1) {{ nodes {{ sandbox {{ ...f{n + 1} }} }}"
        f" edges {{ node {{ sandbox {{ ...f{n + 1} }} }} }} }} }} "
        for n in range(60)
    )
    result = await run(
        f"{{ sandboxes(first: 1) {{ nodes {{ ...f0 }} }} }} {spreads}"
        "fragment f60 on Sandbox { stats { processes } }"
    )

    assert result.errors is not None
    assert "deep" in result.errors[0].message
