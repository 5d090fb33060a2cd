"""Documents that schemathesis makes from the schema, every one of them valid by it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import schemathesis
from graphql import (
    ArgumentNode,
    GraphQLSchema,
    Node,
    ObjectFieldNode,
    StringValueNode,
    Visitor,
    build_schema,
    introspection_from_schema,
    parse,
    parse_value,
    print_ast,
    visit,
)
from hypothesis import strategies as st

from ops.layout import REPOSITORY

ID_ARGUMENTS = ("id", "sandboxId", "executionId")
KINDS = ("query", "mutation", "subscription")


@cache
def strategies() -> Mapping[str, st.SearchStrategy[str]]:
    """Return documents of one operation each, by names such as `mutation createSandbox`."""
    schema = build_schema((REPOSITORY / "schema.graphql").read_text())
    for name, values in _scalars().items():
        schemathesis.graphql.scalar(name, values.map(_literal))
    return {
        f"{kind} {name}": _documents(operation, kind)
        for kind in KINDS
        for name, operation in _operations(schema, kind).items()
    }


def with_ids(document: str, ids: Sequence[str]) -> str:
    """Have some of its ids be these, in turn, and leave every other one as it was made up."""
    return print_ast(visit(parse(document), _Ids(ids)))


def _operations(schema: GraphQLSchema, kind: str) -> Mapping[str, Any]:
    root = getattr(schema, f"{kind}_type").name
    raw: dict[str, Any] = json.loads(json.dumps(introspection_from_schema(schema)))
    # Subscriptions are none of schemathesis's kinds, but their fields are made like a query's.
    raw["__schema"] |= {"queryType": {"name": root}, "mutationType": None, "subscriptionType": None}
    found: Mapping[str, Any] = schemathesis.graphql.from_dict(raw)[root]
    return found


def _documents(operation: Any, kind: str) -> st.SearchStrategy[str]:  # noqa: ANN401 - has no types
    made: st.SearchStrategy[Any] = operation.as_strategy()
    return made.map(lambda case: f"{kind} {str(case.body).removeprefix('query')}")


def _scalars() -> Mapping[str, st.SearchStrategy[Any]]:
    times = st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
    # GraphQL has no literal for what is not finite.
    finite = st.floats(allow_nan=False, allow_infinity=False)
    leaves = st.none() | st.booleans() | st.integers() | finite | st.text()
    return {
        "Base64": st.text() | st.sampled_from(["", "aGVsbG8=", "aGVsbG8", "\u0000"]),
        "DateTime": times | st.text(),
        "JSON": st.recursive(leaves, lambda inner: st.lists(inner) | _objects(inner), max_leaves=5),
    }


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(
        st.from_regex(r"[_A-Za-z][_0-9A-Za-z]{0,7}", fullmatch=True), inner, max_size=3
    )


def _literal(value: object) -> Any:  # noqa: ANN401 - one of many kinds of node
    return parse_value(_written(value))


def _written(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_written(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value)


class _Ids(Visitor):
    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__()
        self._ids = ids

    def enter(self, node: Node, *_: object) -> Node | None:
        if not isinstance(node, ArgumentNode | ObjectFieldNode):
            return None
        if node.name.value not in ID_ARGUMENTS:
            return None
        # By what was made up, so that a document that failed fails again.
        choice = len(print_ast(node.value)) % (len(self._ids) + 1)
        if choice == len(self._ids):
            return None
        return type(node)(name=node.name, value=StringValueNode(value=self._ids[choice]))
