"""Operations generated from a schema: each field that takes an id, with valid input by type."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
)

Input = GraphQLArgument | GraphQLInputField

VALUES: Mapping[str, object] = {
    "Int!.inputSeq": 1,
    "String!.code": "print('isolated')",
    "String!.path": "isolated.txt",
    "String!.text": "isolated",
    "String!.name": "ISOLATED",
    "String!.value": "isolated",
    "[String!]!.packages": ["six"],
    "Base64!.content": "aXNvbGF0ZWQ=",
}
"""What a required input is given. One that is not here makes the tests fail: whether it could
name somebody's thing is for a person to say."""
OPTIONAL: frozenset[str] = frozenset(
    {
        "Boolean!.start",
        "Float.idleTimeoutSeconds",
        "Float.lifetimeSeconds",
        "Float.timeoutSeconds",
        "Int!.after",
        "Int!.expiresInSeconds",
        "Int!.first",
        "JSON.metadata",
        "SandboxFilter.filter",
        "String!.path",
        "String.after",
        "String.clientExecutionId",
        "String.idempotencyKey",
        "String.image",
        "String.name",
        "String.nameContains",
        "[EnvironmentVariableInput!].environment",
        "[SandboxStatus!].status",
    }
)
"""Inputs that are left out, known to name nothing of anybody's but what tests of their own try."""
DEEPEST = 6


class UnknownInputError(Exception):
    """The schema has an input that nobody has thought about here."""


@dataclass
class Operation:
    """One root field as a document, with places for ids."""

    kind: str
    name: str
    document: str
    values: dict[str, object]
    id_places: list[tuple[str, ...]] = field(default_factory=list)

    def variables(self, some_id: str) -> dict[str, object]:
        """Return the variables with the id in every place."""
        filled = _copy(self.values)
        for *way, last in self.id_places:
            target = filled
            for step in way:
                inner = target[step]
                assert isinstance(inner, dict)
                target = inner
            target[last] = some_id
        return filled

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}"


def _copy(values: dict[str, object]) -> dict[str, object]:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in values.items()}


def operations(schema: GraphQLSchema) -> Iterator[Operation]:
    """Make an operation of every root field. Raises `UnknownInputError`."""
    roots = (
        ("query", schema.query_type),
        ("mutation", schema.mutation_type),
        ("subscription", schema.subscription_type),
    )
    for kind, root in roots:
        for name in root.fields if root else ():
            assert root is not None
            yield _operation(schema, kind, root, name)


def _operation(schema: GraphQLSchema, kind: str, root: GraphQLObjectType, name: str) -> Operation:
    root_field = root.fields[name]
    operation = Operation(kind, name, "", {})
    declared, passed = [], []
    for argument, spec in root_field.args.items():
        if _given(argument, spec):
            operation.values[argument] = _value(operation, (argument,), argument, spec)
            declared.append(f"${argument}: {spec.type}")
            passed.append(f"{argument}: ${argument}")
    signature = f"({', '.join(declared)})" if declared else ""
    call = f"({', '.join(passed)})" if passed else ""
    selection = selection_of(schema, root_field.type)
    operation.document = f"{kind}{signature} {{ {name}{call}{selection} }}"
    return operation


def _given(name: str, spec: Input) -> bool:
    """Whether to give this input: ids always, else what is required."""
    named = get_named_type(spec.type)
    if isinstance(named, GraphQLScalarType) and named.name == "ID":
        return True
    if isinstance(spec.type, GraphQLNonNull) and not _has_default(spec):
        return True
    if f"{spec.type}.{name}" not in OPTIONAL:
        raise UnknownInputError(f"{spec.type} {name}: add it to OPTIONAL or VALUES here")
    return False


def _has_default(spec: Input) -> bool:
    return str(spec.default_value) != "Undefined"


def _value(operation: Operation, way: tuple[str, ...], name: str, spec: Input) -> object:
    named = get_named_type(spec.type)
    if isinstance(named, GraphQLScalarType) and named.name == "ID":
        if _is_list(spec.type):
            raise UnknownInputError(f"{spec.type} {name}: lists of ids are not generated yet")
        operation.id_places.append(way)
        return ""
    if isinstance(named, GraphQLInputObjectType) and not _is_list(spec.type):
        return {
            inner: _value(operation, (*way, inner), inner, inner_spec)
            for inner, inner_spec in named.fields.items()
            if _given(inner, inner_spec)
        }
    try:
        return VALUES[f"{spec.type}.{name}"]
    except KeyError:
        raise UnknownInputError(f"{spec.type} {name}: add a value to VALUES here") from None


def _is_list(kind: GraphQLInputType) -> bool:
    inner = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    return isinstance(inner, GraphQLList)


def selection_of(schema: GraphQLSchema, kind: GraphQLOutputType, seen: tuple[str, ...] = ()) -> str:
    """Select everything below a type, each type once on a way; required inputs are given."""
    named = get_named_type(kind)
    if isinstance(named, GraphQLScalarType | GraphQLEnumType):
        return ""
    if isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
        return _abstract(schema, named, seen)
    assert isinstance(named, GraphQLObjectType)
    return f" {{ __typename {' '.join(_fields(schema, named, seen))} }}"


def _abstract(
    schema: GraphQLSchema, kind: GraphQLInterfaceType | GraphQLUnionType, seen: tuple[str, ...]
) -> str:
    # Aliased by type: two types may have fields of one name and different kinds.
    parts = [
        f"... on {each.name} {{ {' '.join(_fields(schema, each, seen, each.name))} }}"
        for each in schema.get_possible_types(kind)
    ]
    return f" {{ __typename {' '.join(parts)} }}"


def _fields(
    schema: GraphQLSchema, kind: GraphQLObjectType, seen: tuple[str, ...], alias: str = ""
) -> Iterator[str]:
    for name, spec in kind.fields.items():
        named = get_named_type(spec.type)
        if named.name in seen or len(seen) >= DEEPEST:
            continue
        call = _literals(f"{kind.name}.{name}", spec.args)
        selection = selection_of(schema, spec.type, (*seen, kind.name))
        if not selection.strip("{ }_typenam") and not isinstance(
            named, GraphQLScalarType | GraphQLEnumType
        ):
            continue
        yield f"{alias}_{name}: {name}{call}{selection}" if alias else f"{name}{call}{selection}"


def _literals(place: str, arguments: Mapping[str, GraphQLArgument]) -> str:
    given = []
    for name, spec in arguments.items():
        if get_named_type(spec.type).name == "ID":
            raise UnknownInputError(f"{place} takes the id {name}: try it with another's ids")
        if _given(name, spec):
            value = VALUES[f"{spec.type}.{name}"]
            given.append(f'{name}: "{value}"')
    return f"({', '.join(given)})" if given else ""
