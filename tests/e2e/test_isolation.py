"""Tenants: nobody reaches another's things, by any operation of the schema there is.

The operations are generated from the schema, so that a new field is tried too; one whose
input the generator does not know fails these tests until somebody has thought about it.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from graphql import (
    build_client_schema,
    get_introspection_query,
    introspection_from_schema,
    print_schema,
)
from graphql import build_schema as schema_of

from schema.build import build_schema
from tests.support.api import Api, GraphQLError, Json
from tests.support.operations import Operation, UnknownInputError, operations

SCHEMA = build_schema()._schema
OPERATIONS = list(operations(SCHEMA))
WITH_IDS = [operation for operation in OPERATIONS if operation.id_places]
WITHOUT_IDS = [operation for operation in OPERATIONS if not operation.id_places]
DELETION_LAST = sorted(WITH_IDS, key=lambda operation: operation.name == "deleteSandbox")
SECRET = "secret-of-a"
UNHARMED = "id name status metadata updatedAt startedAt environmentVariableNames"


@dataclass(frozen=True)
class Belongings:
    """What A has, all of it RUNNING, and one execution that waits for input."""

    sandbox: str
    execution: str
    input_seq: int
    cursors: tuple[str, str]

    @property
    def ids(self) -> tuple[str, str]:
        """Everything that an id argument can take."""
        return self.sandbox, self.execution


@pytest.fixture(scope="module")
async def belongings(api: Api) -> AsyncIterator[Belongings]:
    """Give A a sandbox with a file and an execution that waits for input."""
    variables = [{"name": "HIDDEN", "value": SECRET}]
    sandbox = await api.create(name=SECRET, metadata={"is": SECRET}, environment=variables)
    await api.upload(sandbox, "isolated.txt", SECRET.encode())
    async with api.live(sandbox, f"print('{SECRET}', flush=True)\ninput('{SECRET}')") as live:
        asked = await live.until("InputRequested")
        document = """query($id: ID!) { sandboxes(first: 1) { edges { cursor } }
            sandbox(id: $id) { executions { edges { cursor } } } }"""
        found = await api.query(document, id=sandbox)
        cursors = (
            found["sandboxes"]["edges"][0]["cursor"],
            found["sandbox"]["executions"]["edges"][0]["cursor"],
        )
        yield Belongings(sandbox, asked["executionId"], asked["seq"], cursors)
        await api.delete(sandbox)


async def attempt(api: Api, operation: Operation, some_id: str, input_seq: int = 1) -> Json:
    """Run an operation with an id and return its whole answer."""
    variables = operation.variables(some_id)
    given = variables.get("input")
    if isinstance(given, dict) and "inputSeq" in given:
        given["inputSeq"] = input_seq
    if operation.kind != "subscription":
        return await api.answer(operation.document, **variables)
    try:
        async for data in api.subscribe(operation.document, **variables):
            return {"data": data}
    except GraphQLError as error:
        return {"errors": [{"message": error.message, "extensions": error.extensions}]}
    return {"data": None}


def comparable(answer: Json) -> Json:
    """Leave out where in the document an error is."""
    for error in answer.get("errors", []):
        error.pop("locations", None)
        error.pop("path", None)
    return answer


async def test_the_schema_tried_is_the_one_that_is_served(api: Api) -> None:
    """The operations are generated from the very schema that the server shows."""
    introspected: Any = await api.query(get_introspection_query())
    served = build_client_schema(introspected)
    tried = build_client_schema(introspection_from_schema(SCHEMA))

    assert print_schema(served) == print_schema(tried)


@pytest.mark.parametrize(
    "fields",
    [
        "thing(owner: String!): Int",
        "thing(owner: String): Int",
        "things(ids: [ID!]!): Int",
        "a: A } type A { thing(id: ID!): Int",
        "thing(input: In!): Int } input In { owner: String",
    ],
)
def test_a_new_input_is_not_forgotten(fields: str) -> None:
    """An input that the generator does not know fails, however deep it is."""
    with pytest.raises(UnknownInputError):
        list(operations(schema_of(f"type Query {{ {fields} }}")))


@pytest.mark.parametrize("operation", WITH_IDS, ids=str)
async def test_anothers_id_answers_as_an_unknown_one(
    api: Api, other: Api, belongings: Belongings, operation: Operation
) -> None:
    """B gets null from queries, NOT_FOUND from the rest, in the words for an unknown id."""
    before = await api.sandbox(belongings.sandbox, UNHARMED)
    unknown = comparable(await attempt(other, operation, str(uuid4()), belongings.input_seq))
    answers = [
        comparable(await attempt(other, operation, each, belongings.input_seq))
        for each in belongings.ids
    ]

    assert answers == [unknown] * 2
    if operation.kind == "query":
        assert unknown == {"data": {operation.name: None}}
    else:
        [error] = unknown["errors"]
        assert error["extensions"] == {"code": "NOT_FOUND"}
        assert unknown.get("data") is None
    assert await api.sandbox(belongings.sandbox, UNHARMED) == before
    assert await api.download(belongings.sandbox, "isolated.txt") == SECRET.encode()


@pytest.mark.parametrize("operation", [o for o in WITHOUT_IDS if o.kind == "query"], ids=str)
async def test_what_b_sees_of_all_is_free_of_a(
    other: Api, belongings: Belongings, operation: Operation
) -> None:
    """Every field of every query without an id shows B nothing of A's."""
    mine = await other.create(start=False, name="mine")
    answer = await other.answer(operation.document, **operation.variables(""))
    await other.delete(mine)
    text = json.dumps(answer)

    assert answer["data"] is not None
    assert SECRET not in text
    assert not [each for each in belongings.ids if each in text]


async def test_subscriptions_without_an_id_show_b_nothing_of_a(
    api: Api, other: Api, belongings: Belongings
) -> None:
    """`sandboxChanged` of all tells B of B's sandboxes alone, while A's change."""
    mine = await other.create(start=False, name="mine")
    document = "subscription { sandboxChanged { sandbox { id name } deletedSandboxId } }"
    async with other.following(document, "sandboxChanged") as live:
        first = await live.next()
        await api.mutate(
            "updateSandbox", "sandbox { id }", sandboxId=belongings.sandbox, name=f"{SECRET} 2"
        )
        await other.mutate("updateSandbox", "sandbox { id }", sandboxId=mine, name="changed")
        second = await live.next()
    await other.delete(mine)

    assert first["sandbox"]["id"] == second["sandbox"]["id"] == mine
    assert second["sandbox"]["name"] == "changed"


async def test_anothers_cursors_lead_to_ones_own(other: Api, belongings: Belongings) -> None:
    """A cursor of A's pages only through what B has."""
    mine = await other.create(start=False, name="mine")
    document = """query($id: ID!, $s: String, $e: String) {
        sandboxes(after: $s) { nodes { id name } edges { node { id } } totalCount }
        sandbox(id: $id) { executions(after: $e) { nodes { id code } totalCount } } }"""
    sandboxes, executions = belongings.cursors
    for s, e in ((sandboxes, executions), (executions, sandboxes)):
        found = await other.query(document, id=mine, s=s, e=e)
        assert not [each for each in belongings.ids if each in json.dumps(found)]
        assert found["sandbox"]["executions"]["totalCount"] == 0
    await other.delete(mine)


async def test_anothers_keys_are_free_to_use(api: Api, other: Api) -> None:
    """An idempotencyKey of A's makes B a sandbox of B's own."""
    key = uuid4().hex
    theirs = await api.create(start=False, idempotencyKey=key)
    mine = await other.create(start=False, idempotencyKey=key)
    await api.delete(theirs)
    seen = await other.sandbox(mine)
    await other.delete(mine)

    assert mine != theirs
    assert seen["id"] == mine


@pytest.mark.parametrize("operation", DELETION_LAST, ids=str)
async def test_the_same_operation_works_for_the_owner(
    api: Api, doomed: Belongings, operation: Operation
) -> None:
    """The input that B was refused with is good: for A it finds its thing."""
    answers = [await attempt(api, operation, each, doomed.input_seq) for each in doomed.ids]
    codes = [{e["extensions"]["code"] for e in a.get("errors", [])} for a in answers]

    found = [code for code in codes if code != {"NOT_FOUND"}]
    if operation.kind == "query":
        assert any((a["data"] or {}).get(operation.name) for a in answers)
    # A sandbox that another of these operations has stopped is found all the same.
    assert found
    assert all(code <= {"CONFLICT"} for code in found), answers


@pytest.fixture(scope="module")
async def doomed(api: Api) -> Belongings:
    """Give A things that the tests use up."""
    sandbox = await api.create(name="doomed")
    await api.upload(sandbox, "isolated.txt", b"x")
    async with api.live(sandbox, "input()") as live:
        asked = await live.until("InputRequested")
    return Belongings(sandbox, asked["executionId"], asked["seq"], ("", ""))
