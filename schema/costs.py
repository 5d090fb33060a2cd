"""How many nodes an operation may ask for, before anything of it is read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    IntValueNode,
    OperationDefinitionNode,
    VariableNode,
    get_named_type,
)
from graphql.utilities import value_from_ast_untyped

from schema.selections import Selections, name_of
from services.errors import ErrorCode

MAX_NODES: Final = 10_000
"""Of all connections of an operation, each with all that it is below of: `first` times `first`."""
CALLS: Final = frozenset({"stats", "files", "file", "packages"})
"""Fields of a sandbox that are a question each; one counts as a node."""
PAGE_LENGTH = "first"


def connections_of(schema: GraphQLSchema) -> dict[str, int]:
    """Return the names of the fields that are connections, with their pages' default length."""
    return {
        name: field.args[PAGE_LENGTH].default_value
        for each in schema.type_map.values()
        if isinstance(each, GraphQLObjectType)
        for name, field in each.fields.items()
        if get_named_type(field.type).name.endswith("Connection")
    }


def excess(
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    connections: Mapping[str, int],
) -> GraphQLError | None:
    """Refuse a valid operation that asks for too many nodes, with how many it asks for."""
    nodes = NodeCounter(fragments, with_defaults(operation, variables), connections).count(
        operation
    )
    if nodes <= MAX_NODES:
        return None
    return GraphQLError(
        f"The operation asks for up to {nodes:,} nodes, and {MAX_NODES:,} are allowed: "
        "ask for shorter pages (`first`), or for less at once.",
        operation,
        extensions={
            "code": ErrorCode.BAD_USER_INPUT.value,
            "field": PAGE_LENGTH,
            "nodes": nodes,
            "limitNodes": MAX_NODES,
        },
    )


def with_defaults(
    operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the variables as they were sent, or as the operation has them where they were not."""
    defaults = {
        each.variable.name.value: value_from_ast_untyped(each.default_value)
        for each in operation.variable_definitions or ()
        if each.default_value is not None
    }
    return {**defaults, **variables}


class NodeCounter:
    """Counts as the execution would read: merged fields once, what is skipped not at all."""

    def __init__(
        self,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        connections: Mapping[str, int],
    ) -> None:
        self._selections = Selections(fragments, variables)
        self._variables = variables
        self._connections = connections

    def count(self, operation: OperationDefinitionNode) -> int:
        """Return how many nodes all pages have, if each is full."""
        return self._within(self._selections.top(operation).values(), 1)

    def _within(self, groups: Iterable[Sequence[FieldNode]], times: int) -> int:
        total = 0
        for group in groups:
            name, below = name_of(group), self._selections.below(group)
            each = times
            if name in self._connections and below:
                each *= self._page_length(group[0], self._connections[name])
                total += each
            elif name in CALLS:
                total += each
            total += self._within(below.values(), each)
        return total

    def _page_length(self, field: FieldNode, default: int) -> int:
        for argument in field.arguments or ():
            if argument.name.value != PAGE_LENGTH:
                continue
            match argument.value:
                case IntValueNode(value=text):
                    return max(0, int(text))
                case VariableNode(name=name):
                    return _length(self._variables.get(name.value, default))
        return default


def _length(value: object) -> int:
    """Read a variable; what is no number is refused when its turn comes."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return max(0, value) if isinstance(value, int) else 0
