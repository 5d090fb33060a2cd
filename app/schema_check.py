"""`python -m app.schema_check`: compare what is served with what was committed and agreed.

The contract is taken from beside the checkout where it is there, and compared with the
copy in the repository, which a plain clone has to do with.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from graphql import DocumentNode, GraphQLSchema, Node, build_ast_schema, parse
from graphql.language import NameNode, StringValueNode
from graphql.utilities import find_schema_changes

from app.schema_export import EXPORTED, served_sdl

COPY = Path(__file__).parent.parent / "schema" / "contract.graphql"
AGREED = Path(__file__).parent.parent.parent / "shared" / "contract" / "schema.graphql"


def differences() -> Iterator[str]:
    """Say in a line each what differs."""
    served = served_sdl()
    committed = EXPORTED.read_text(encoding="utf-8") if EXPORTED.exists() else ""
    if committed != served:
        yield "schema.graphql is not what is served: run `python -m app.schema_export`."
    if committed:
        for breach in contract_breaches(committed, served):
            yield f"Clients of the committed schema would miss it: {breach}"
    copy = COPY.read_text(encoding="utf-8")
    if AGREED.exists() and AGREED.read_text(encoding="utf-8") != copy:
        yield f"schema/contract.graphql is not the contract: copy {AGREED.name} from beside."
    yield from contract_breaches(copy, served)


def contract_breaches(contract: str, served: str) -> Iterator[str]:
    """Say what a client of one schema, the contract above all, would miss in the served one."""
    agreed, offered = parse(contract), parse(served)
    for change in find_schema_changes(_schema(agreed), _schema(offered)):
        if not change.type.name.endswith("_ADDED") or "REQUIRED" in change.type.name:
            yield f"{change.type.name}: {change.description}"
    offered_descriptions = dict(_descriptions(offered))
    for place, text in _descriptions(agreed):
        if text is not None and offered_descriptions.get(place) != text:
            yield f"DESCRIPTION_CHANGED: {'.'.join(place)} said {text!r}."


def _schema(document: DocumentNode) -> GraphQLSchema:
    return build_ast_schema(document)


def _descriptions(
    node: Node, place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str | None]]:
    name = getattr(node, "name", None)
    if isinstance(name, NameNode):
        place = (*place, name.value)
        text = getattr(node, "description", None)
        yield place, text.value if isinstance(text, StringValueNode) else None
    for part in ("definitions", "fields", "values", "arguments"):
        for child in getattr(node, part, None) or ():
            yield from _descriptions(child, place)


def main() -> int:
    """Print the differences; 1 where there are any."""
    found = list(differences())
    for line in found:
        sys.stderr.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
