"""What is read of a page of executions, by what the operation selects."""

from typing import Any

import pytest
from graphql import FieldNode, FragmentDefinitionNode, OperationDefinitionNode, parse
from strawberry.types import ExecutionResult

from resolvers.context import Context
from schema.build import build_schema
from schema.selections import PAGE, Selections
from tests.support.stub_services import Stubs, execution, sandbox, viewer

SCHEMA = build_schema()

SMALL = [
    "executions { nodes { id status durationMs error { traceback } } }",
    "executions { edges { cursor node { id } } pageInfo { endCursor } }",
    "executions { nodes { code: id stdout: kind } }",
    "executions { ...page } fragment page on ExecutionConnection { nodes { __typename } }",
    "executions { nodes { code @skip(if: true) stdout @include(if: false) } }",
    "executions { nodes { stdout @include(if: $no) ... @skip(if: $yes) { stderr } id } }",
    "executions { nodes @skip(if: $yes) { code } edges @include(if: $no) { node { code } } }",
]
LARGE = [
    "executions { nodes { code } }",
    "executions { nodes { stdout } }",
    "executions { nodes { stderr } }",
    "executions { nodes { results { isResult } } }",
    "executions { nodes { id } edges { node { stdout } } }",
    "shown: executions { all: nodes { text: stdout } }",
    "executions { nodes { ... on Node { ... on Execution { code } } } }",
    "executions { nodes { id } nodes { code } }",
    "executions { edges { cursor } } executions { edges { node { code } } }",
    "executions { nodes { code @include(if: $yes) @skip(if: $no) } }",
    "executions { nodes { ...a @skip(if: true) ...a } } fragment a on Execution { code }",
    """executions { nodes { ...a } edges { node { ...a } } }
    fragment a on Execution { ...b } fragment b on Execution { id code }""",
]


async def run(stubs: Stubs, selection: str) -> ExecutionResult:
    """Select so of a sandbox; fragments stand after the selection."""
    below, fragment, rest = selection.partition("fragment ")
    box = sandbox()
    stubs.sandboxes.known = [box]
    stubs.executions.record = execution(sandbox_id=box.id)
    query = f"""query ($id: ID!, $yes: Boolean = true, $no: Boolean!) {{
        a: sandbox(id: $id) @include(if: $yes) @skip(if: $no) {{ id }}
        sandbox(id: $id) {{ {below} }} }} {fragment} {rest}"""
    return await SCHEMA.execute(
        query,
        variable_values={"id": str(box.id), "no": False},
        context_value=Context(stubs.services(), "request", viewer()),
    )


@pytest.mark.parametrize("selection", SMALL)
async def test_what_is_not_asked_for_is_not_read(selection: str) -> None:
    """However the rest is written."""
    stubs = Stubs()
    result = await run(stubs, selection)

    assert result.errors is None
    assert set(stubs.executions.calls) <= {"outlines"}


@pytest.mark.parametrize("selection", LARGE)
async def test_what_is_asked_for_is_read(selection: str) -> None:
    """Once for the whole connection."""
    stubs = Stubs()
    result = await run(stubs, selection)

    assert result.errors is None
    assert stubs.executions.calls == ["page"]


async def test_a_connection_within_another_is_read_for_itself() -> None:
    """The outer one shows nothing large."""
    stubs = Stubs()
    query = "executions { nodes { id sandbox { executions { nodes { code } } } } }"
    result = await run(stubs, query)

    assert result.errors is None
    assert stubs.executions.calls == ["outlines", "page"]


@pytest.mark.parametrize("field", ["execution", "node"])
async def test_one_execution_is_read_as_it_is_shown(field: str) -> None:
    """Whole where anything large is selected of it, for its own type or an interface of it."""
    for below, call in [
        ("id status", "outline"),
        ("...a", "get"),
        ("... on Node { id }", "outline"),
    ]:
        stubs = Stubs()
        query = f"""query ($id: ID!) {{ {field}(id: $id) {{ __typename {below} }} }}
            fragment a on Execution {{ stdout }}"""
        if "...a" not in below:
            query = query.partition("fragment")[0]
        if field == "node":
            query = query.replace("id status", "id")
        result = await SCHEMA.execute(
            query,
            variable_values={"id": str(stubs.executions.record.id)},
            context_value=Context(stubs.services(), "request", viewer()),
        )

        assert result.errors is None
        assert stubs.executions.calls == [call]


COPIES = [
    ("{ x { id } }", 0),
    ("{ x { stdout stderr code results { bundle } } }", 1),
    ("{ x { stdout stdout ...a ...a } } fragment a on Execution { stdout }", 1),
    ("{ x { a: stdout b: stdout c: stderr } }", 2),
    ("{ x { a: results { text png } b: results { bundle } } }", 2),
    ("{ x { results { a: bundle b: bundle c: bundle text } } }", 3),
    ("{ x { a: results { b: png c: png } results { b: png c: png } } }", 4),
    ("{ x { results { a: bundle } ... { results { b: bundle } } } }", 2),
]


@pytest.mark.parametrize(("text", "copies"), COPIES)
def test_an_execution_is_as_large_as_it_is_shown_often(text: str, copies: int) -> None:
    """Aliases of one large field count, and what is merged into one does not."""
    field, known = read(text)

    assert Selections(known, {}).copies([field]) == copies


async def test_the_executions_of_a_page_are_shown_in_two_places() -> None:
    """Each alias of either shows them again."""
    field, known = read(
        "{ x { a: nodes { ...f } b: nodes { ...f } edges { c: node { ...f } d: node { id } } } }"
        " fragment f on Execution { stdout }"
    )
    selections = Selections(known, {})
    found = [selections.copies(each) for path in PAGE for each in selections.at([field], path)]

    assert found == [1, 1, 1, 0]


def read(text: str) -> tuple[FieldNode, dict[str, FragmentDefinitionNode]]:
    """Return the only field of a document's operation, and its fragments."""
    [operation, *fragments] = parse(text).definitions
    assert isinstance(operation, OperationDefinitionNode)
    [field] = operation.selection_set.selections
    assert isinstance(field, FieldNode)
    return field, {
        each.name.value: each for each in fragments if isinstance(each, FragmentDefinitionNode)
    }


def test_fragments_that_double_are_walked_once() -> None:
    """Each fragment spreads the next one twice: written out they would be 2 ** 150 fields."""
    doubling = "".join(
        f"fragment f{number} on Execution {{ ...f{number + 1} ...f{number + 1} }}\n"
        for number in range(150)
    )
    nodes, known = read(f"{{ nodes {{ ...f0 }} }} {doubling} fragment f150 on Execution {{ code }}")

    found = Selections(known, {}).below([nodes])

    assert {name: len(fields) for name, fields in found.items()} == {"code": 1}


async def test_an_outline_shows_nothing_large() -> None:
    """Should it be asked after all, it is an error, never an empty text."""
    stubs = Stubs()
    shown: Any = stubs.executions
    shown.whole = shown.outlines

    result = await run(stubs, "executions { nodes { stdout } }")

    assert result.errors is not None
    assert result.errors[0].extensions is not None
    assert result.errors[0].extensions["code"] == "INTERNAL_SERVER_ERROR"
