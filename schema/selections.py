"""What an operation selects below a field, so that no more is read than is shown."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionNode,
    VariableNode,
)
from graphql.language import InlineFragmentNode

from schema.info import Info

LARGE = frozenset({"code", "stdout", "stderr", "results"})
"""Fields of an execution that may be megabytes."""
PAGE = (("nodes",), ("edges", "node"))
"""Where a connection shows what it has."""


def large_copies(info: Info, *paths: Sequence[str]) -> int:
    """How often what is large of an execution is shown, 0 where nothing of it is.

    `paths` lead from the field to executions; without any, the field is one.
    """
    # Not `info.selected_fields`: it writes each fragment out wherever it is spread, and
    # fragments that spread each other twice are two to the power of how many there are.
    raw = info._raw_info  # noqa: SLF001 - Strawberry has no other way to the document
    selections = Selections(raw.fragments, info.variable_values)
    return sum(
        selections.copies(execution)
        for path in paths or ((),)
        for execution in selections.at(raw.field_nodes, path)
    )


class Selections:
    """Reads selection sets as the execution does (GraphQL, section 6.3.2), types aside.

    A fragment for another type than the field's is read too: it may select too much, never
    too little.
    """

    def __init__(
        self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, object]
    ) -> None:
        self._fragments = fragments
        self._variables = variables

    def at(self, fields: Sequence[FieldNode], path: Sequence[str]) -> Iterator[Sequence[FieldNode]]:
        """Yield what stands at a path of names below these, once for each alias."""
        if not path:
            yield fields
            return
        for group in self.below(fields).values():
            if name_of(group) == path[0]:
                yield from self.at(group, path[1:])

    def copies(self, execution: Sequence[FieldNode]) -> int:
        """Count how often the large field is shown that is shown most often."""
        found: Counter[str] = Counter()
        for group in self.below(execution).values():
            name = name_of(group)
            if name in LARGE:
                inside = Counter(name_of(each) for each in self.below(group).values())
                found[name] += max(inside.values(), default=1)
        return max(found.values(), default=0)

    def top(self, operation: OperationDefinitionNode) -> Mapping[str, list[FieldNode]]:
        """Return an operation's own fields, as `below` does a field's."""
        found: defaultdict[str, list[FieldNode]] = defaultdict(list)
        for each in self._fields(operation.selection_set.selections, set()):
            found[(each.alias or each.name).value].append(each)
        return found

    def below(self, fields: Iterable[FieldNode]) -> defaultdict[str, list[FieldNode]]:
        """Return the fields that are selected directly below these, by alias or else name."""
        found: defaultdict[str, list[FieldNode]] = defaultdict(list)
        spread: set[str] = set()
        for field in fields:
            if field.selection_set is not None:
                for each in self._fields(field.selection_set.selections, spread):
                    found[(each.alias or each.name).value].append(each)
        return found

    def _fields(self, selections: Sequence[SelectionNode], spread: set[str]) -> Iterator[FieldNode]:
        for selection in selections:
            if not all(self._included(each) for each in selection.directives or ()):
                continue
            match selection:
                case FieldNode():
                    yield selection
                case InlineFragmentNode():
                    yield from self._fields(selection.selection_set.selections, spread)
                case FragmentSpreadNode() if selection.name.value not in spread:
                    spread.add(selection.name.value)
                    fragment = self._fragments[selection.name.value]
                    yield from self._fields(fragment.selection_set.selections, spread)

    def _included(self, directive: DirectiveNode) -> bool:
        match directive.name.value:
            case "include":
                return self._condition(directive)
            case "skip":
                return not self._condition(directive)
        return True

    def _condition(self, directive: DirectiveNode) -> bool:
        # Validation has seen to it that there is `if` alone.
        [argument] = directive.arguments or ()
        match argument.value:
            case BooleanValueNode(value=value):
                return value
            case VariableNode(name=name):
                return self._variables.get(name.value) is True
        return False


def name_of(group: Sequence[FieldNode]) -> str:
    """Return the name of fields that are merged into one."""
    # Fields of one alias have one name: validation has seen to it.
    return group[0].name.value
