"""Hooks of extensions: those that there are run, whatever is gone around."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
import strawberry
from strawberry.extensions import SchemaExtension

from schema.answer_budget import AnswerBudget, answer_budget
from schema.answers import AnswerExecutor, collected_fields
from schema.build import Schema


@strawberry.type
class Query:
    """One field."""

    @strawberry.field
    def number(self) -> int:
        """Answer it."""
        return 1


@strawberry.type
class Subscription:
    """Two numbers."""

    @strawberry.subscription
    async def numbers(self) -> AsyncGenerator[int, None]:
        """Yield them."""
        yield 1
        yield 2


class Told(SchemaExtension):
    """Has every hook, and takes note of each."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def on_operation(self) -> Iterator[None]:
        """Surround an operation."""
        self._told.append("operation")
        yield

    def on_execute(self) -> Iterator[None]:
        """Surround an execution."""
        self._told.append("execute")
        yield

    def on_stream_result(self, result: Any) -> Iterator[None]:  # noqa: ANN401 - Strawberry's
        """Surround an event on its way out."""
        self._told.append(f"event {result.data['numbers']}")
        yield

    def get_results(self) -> dict[str, Any]:
        """Add to an answer."""
        return {"told": len(self._told)}


def served(*extensions: Any) -> Schema:  # noqa: ANN401 - Strawberry's
    """Make a schema with these extensions, as the product's is made."""
    return Schema(
        Query,
        subscription=Subscription,
        extensions=list(extensions),
        execution_context_class=AnswerExecutor,
    )


@pytest.fixture(autouse=True)
def budget() -> None:
    """What the product's own extension sets."""
    answer_budget.set(AnswerBudget())
    collected_fields.set({})


async def events(schema: Schema) -> list[Any]:
    """Return the results of a subscription."""
    results: Any = await schema.stream("subscription { numbers }")
    async with aclosing(results):
        return [result async for result in results]


async def test_every_hook_that_there_is_runs() -> None:
    """In order, for a query and for each event; what is added comes with the answer."""
    told: list[str] = []
    schema = served(lambda: Told(told))
    answer: Any = await schema.execute("{ number }")
    found = await events(schema)

    assert answer.data == {"number": 1}
    assert told == ["operation", "execute"] * 2 + ["event 1", "event 2"]
    assert answer.extensions == {"told": 2}
    assert [result.extensions for result in found] == [{"told": 4}, {"told": 5}]


async def test_without_hooks_the_answers_are_the_same() -> None:
    """Nothing is added, and nothing missing."""
    schema = served()
    answer: Any = await schema.execute("{ number }")

    assert answer.data == {"number": 1}
    assert [result.data for result in await events(schema)] == [{"numbers": 1}, {"numbers": 2}]
    assert not answer.extensions
