"""Documents and bodies that ask for much in few bytes, each with what it is answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from graphql import get_introspection_query

INTROSPECTION = get_introspection_query()
FULL_TYPE = INTROSPECTION[INTROSPECTION.index("fragment FullType") :]
VALIDATION, PARSE, INPUT, LARGE = (
    "GRAPHQL_VALIDATION_FAILED",
    "GRAPHQL_PARSE_FAILED",
    "BAD_USER_INPUT",
    "PAYLOAD_TOO_LARGE",
)


@dataclass(frozen=True)
class Flood:
    """One request, to be sent again and again; without a code it is served."""

    body: bytes
    code: str | None


def _document(query: str, code: str | None, variables: object = None) -> Flood:
    return Flood(json.dumps({"query": query, "variables": variables}).encode(), code)


def _times(count: int, each: str) -> str:
    return " ".join(each.replace("#", str(number)) for number in range(count))


def _values(each: str, count: int) -> Flood:
    values = ",".join([each] * count)
    body = f'{{"query": "{{ __typename }}", "variables": {{"a": [{values}]}}}}'
    return Flood(body.encode(), LARGE)


FLOODS: Mapping[str, Flood] = {
    "aliases": _document(f"{{ {_times(200, 'a#: viewer { id }')} }}", VALIDATION),
    "aliases as many as there may be": _document(
        f"{{ {_times(100, 'a#: sandboxes(first: 10) { nodes { id name } }')} }}", None
    ),
    "fields": _document(f"{{ {'viewer { id } ' * 1000} }}", PARSE),
    "directives": _document(f"{{ viewer {{ id {'@skip(if: false) ' * 300} }} }}", VALIDATION),
    "fragments in a circle": _document(
        f"{{ ...f0 }} {_times(99, 'fragment f# on Query { ...f#1 ...f0 }')}", VALIDATION
    ),
    "fragments that double": _document(
        "{ ...f0 } "
        + " ".join(
            f"fragment f{n} on Query {{ a: viewer {{ id }} ...f{n + 1} ...f{n + 1} }}"
            for n in range(100)
        )
        + " fragment f100 on Query { b: viewer { id } }",
        VALIDATION,
    ),
    "fields to be merged": _document(
        f"{{ {_times(300, 'sandboxes { nodes { id } }')} }}", VALIDATION
    ),
    "operations": _document(_times(300, "query q# { viewer { id } }"), VALIDATION),
    "declared variables": _document(
        f"query ({_times(400, '$v#: Int')}) {{ viewer {{ id }} }}", VALIDATION
    ),
    "depth": _document("{ sandboxes " + "{ nodes { executions " * 300, PARSE),
    "the schema by aliases": _document(
        f"{{ {_times(90, 'a#: __schema { types { ...FullType } }')} }} {FULL_TYPE}", VALIDATION
    ),
    "types by aliases": _document(
        f"{{ __schema {{ {_times(90, 'a#: types { ...FullType }')} }} }} {FULL_TYPE}", VALIDATION
    ),
    "the schema in itself": _document(
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        VALIDATION,
    ),
    "nodes": _document(
        "{ sandboxes(first: 100) { nodes { executions(first: 100) { nodes { id } } } } }", INPUT
    ),
    "a whole number of many digits": _document(
        f"{{ sandboxes(first: {'9' * 50_000}) {{ totalCount }} }}", VALIDATION
    ),
    "commas": _document("{" + "," * 99_000 + "viewer { id } }", None),
    "a long document": _document("{ viewer { id } } #" + "x" * 200_000, LARGE),
    "a batch": Flood(json.dumps([{"query": "{ viewer { id } }"}] * 1000).encode(), INPUT),
    "a large batch": Flood(b"[" + b'{"query": "{ viewer { id } }"},' * 50_000 + b"{}]", LARGE),
    "empty lists": _values("[]", 1_000_000),
    "empty objects": _values("{}", 1_000_000),
    "short strings": _values('"a"', 500_000),
    "numbers": _values("1.5", 500_000),
    "deep lists": Flood(
        b'{"query": "{ __typename }", "variables": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}",
        INPUT,
    ),
    "an id of 4 MiB": _document(
        "query ($id: ID!) { node(id: $id) { id } }", None, {"id": "x" * 4 * 1024 * 1024}
    ),
}
