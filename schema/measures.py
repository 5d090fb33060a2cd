"""How large an operation may be, measured in time linear in its document's length."""

from dataclasses import dataclass, replace

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)
from graphql.language import InlineFragmentNode

MAX_ALIASES = 100
MAX_DIRECTIVES = 100
MAX_DEPTH = 15
"""As deep as the introspection that tools send, and deeper than anything that makes sense."""
INTROSPECTION = frozenset({"__schema", "__type"})
MAX_INTROSPECTIONS = 5
"""The schema as a whole takes 0.1 s, in one go: what tells of it is asked for a few times, and
without aliases, by which one document of 5 KB would ask for it a hundred times."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a selection has, fragments as often as they are spread."""

    aliases: int = 0
    directives: int = 0
    depth: int = 0
    introspections: int = 0
    schema_aliases: int = 0
    """Of the aliases, those below introspection."""

    def beside(self, other: "Measure") -> "Measure":
        """Add what stands next to it."""
        return Measure(
            self.aliases + other.aliases,
            self.directives + other.directives,
            max(self.depth, other.depth),
            self.introspections + other.introspections,
            self.schema_aliases + other.schema_aliases,
        )

    def above(self, field: FieldNode) -> "Measure":
        """Return the measure of a field with this below it."""
        introspects = field.name.value in INTROSPECTION
        return replace(
            self,
            aliases=self.aliases + (field.alias is not None),
            depth=self.depth + 1,
            introspections=self.introspections + introspects,
            schema_aliases=self.aliases if introspects else self.schema_aliases,
        )

    def problems(self) -> list[str]:
        """Say which limits it is over."""
        found = []
        if self.aliases > MAX_ALIASES:
            found.append(f"An operation has at most {MAX_ALIASES} aliases.")
        if self.directives > MAX_DIRECTIVES:
            found.append(f"An operation has at most {MAX_DIRECTIVES} directives.")
        if self.depth > MAX_DEPTH:
            found.append(
                f"An operation is at most {MAX_DEPTH} fields deep; this one is {self.depth}."
            )
        if self.introspections > MAX_INTROSPECTIONS:
            found.append(
                f"An operation has at most {MAX_INTROSPECTIONS} of `__schema` and `__type`."
            )
        if self.schema_aliases:
            found.append("Below `__schema` and `__type` there are no aliases.")
        return found


class Meter:
    """Measures each fragment once.

    Strawberry's own limiters write fragments out: two spreads in each of twenty-two
    fragments keep them busy for five seconds.
    """

    def __init__(self, document: DocumentNode) -> None:
        """Read the document's fragments."""
        self._fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self._known: dict[str, Measure] = {}

    def measure(self, operation: OperationDefinitionNode) -> Measure:
        """Return the operation's measure."""
        return Measure(directives=len(operation.directives or ())).beside(
            self._below(operation.selection_set)
        )

    def _below(self, selections: SelectionSetNode | None) -> Measure:
        total = Measure()
        for each in () if selections is None else selections.selections:
            total = total.beside(self._of(each))
        return total

    def _of(self, selection: SelectionNode) -> Measure:
        own = Measure(directives=len(selection.directives or ()))
        match selection:
            case FieldNode(selection_set=below):
                return own.beside(self._below(below).above(selection))
            case InlineFragmentNode(selection_set=below):
                return own.beside(self._below(below))
            case FragmentSpreadNode(name=name):
                return own.beside(self._fragment(name.value))
        return own

    def _fragment(self, name: str) -> Measure:
        known = self._known.get(name)
        if known is None and name in self._fragments:
            # Nothing until it is measured: another rule refuses a fragment that spreads itself.
            self._known[name] = Measure()
            known = self._known[name] = self._below(self._fragments[name].selection_set)
        return known or Measure()


class SizeLimits(ValidationRule):
    """Refuses operations with too many aliases or directives, and those that are too deep."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        meter = Meter(context.document)
        for each in context.document.definitions:
            if isinstance(each, OperationDefinitionNode):
                for problem in meter.measure(each).problems():
                    context.report_error(GraphQLError(problem, each))
