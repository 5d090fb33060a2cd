"""How the executor of answers goes over the events of one subscription."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
import strawberry
from graphql.execution import collect_fields, executor

from schema.answer_budget import AnswerBudget, answer_budget
from schema.answers import AnswerExecutor, CollectedFields, collected_fields
from schema.build import build_schema

EVENTS = 100
DOCUMENT = """
subscription ($names: Boolean!) {
  first: shapes { __typename ...Area ... on Square { side name @include(if: $names) } }
}
fragment Area on Shape { area ... on Circle { radius } }
"""


@strawberry.interface
class Shape:
    """Of two kinds."""

    area: int


@strawberry.type
class Square(Shape):
    """One kind."""

    side: int
    name: str = "square"


@strawberry.type
class Circle(Shape):
    """The other."""

    radius: int


@strawberry.type
class Query:
    """Required of a schema."""

    nothing: str = ""


@strawberry.type
class Subscription:
    """Shapes in turn."""

    @strawberry.subscription
    async def shapes(self) -> AsyncGenerator[Shape, None]:
        """Yield squares and circles."""
        for number in range(EVENTS):
            yield Circle(area=number, radius=1) if number % 2 else Square(area=number, side=2)


SCHEMA = strawberry.Schema(
    Query,
    subscription=Subscription,
    types=[Square, Circle],
    execution_context_class=AnswerExecutor,
)


async def shown(*, names: bool, collected: CollectedFields | None = None) -> list[Any]:
    """Return the data of all events."""
    answer_budget.set(AnswerBudget())
    collected_fields.set({} if collected is None else collected)
    results: Any = await SCHEMA.stream(DOCUMENT, variable_values={"names": names})
    async with aclosing(results):
        return [result.data["first"] async for result in results]


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The type of each object whose fields graphql-core goes to collect."""
    found: list[str] = []
    collect = collect_fields.collect_subfields

    def counted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        found.append(arguments[4].name)
        return collect(*arguments, **named)

    monkeypatch.setattr(executor, "collect_subfields", counted)
    return found


async def test_fields_are_collected_once_for_each_type(collections: list[str]) -> None:
    """However many events there are: what is remembered does not grow with them."""
    data = await shown(names=True)

    assert len(data) == EVENTS
    assert data[0] == {"__typename": "Square", "area": 0, "side": 2, "name": "square"}
    assert data[-1] == {"__typename": "Circle", "area": EVENTS - 1, "radius": 1}
    assert sorted(collections) == ["Circle", "Square"]


async def test_directives_make_each_operation_another(collections: list[str]) -> None:
    """The same document with another variable shows other fields."""
    with_names, without = await shown(names=True), await shown(names=False)

    assert with_names[0]["name"] == "square"
    assert "name" not in without[0]
    assert len(collections) == 4


async def test_a_document_is_collected_once(collections: list[str]) -> None:
    """What was collected for one operation serves the next of the same text."""
    schema = build_schema()
    document = """{ __schema { queryType { name kind } } __type(name: "Query") { name } }"""
    first = await schema.execute(document)
    before = len(collections)
    second = await schema.execute(document)

    assert first.data == {
        "__schema": {"queryType": {"name": "Query", "kind": "OBJECT"}},
        "__type": {"name": "Query"},
    }
    assert second.data == first.data
    assert before == len(collections) == 3


async def test_a_document_with_directives_is_collected_for_each_operation() -> None:
    """Its variables decide what there is, each time anew."""
    schema = build_schema()
    document = """
    query ($kind: Boolean!) { __schema { queryType { name kind @include(if: $kind) } } }
    """
    data = [
        (await schema.execute(document, variable_values={"kind": kind})).data
        for kind in (True, False, True)
    ]

    with_kind = {"__schema": {"queryType": {"name": "Query", "kind": "OBJECT"}}}
    assert data == [with_kind, {"__schema": {"queryType": {"name": "Query"}}}, with_kind]
