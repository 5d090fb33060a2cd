"""How many aliases a document may have, counted in time linear in its length."""

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)
from graphql.language import InlineFragmentNode

MAX_ALIASES = 100


class AliasCounter:
    """Counts aliases where they are spread, each fragment once.

    Strawberry's own limiter writes fragments out: two spreads in each of twenty-two
    fragments keep it busy for five seconds.
    """

    def __init__(self, document: DocumentNode) -> None:
        """Read the document's fragments."""
        self._fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self._counts: dict[str, int] = {}

    def count(self, operation: OperationDefinitionNode) -> int:
        """Return the operation's aliases, those of fragments as often as they are spread."""
        return self._below(operation.selection_set)

    def _below(self, selections: SelectionSetNode | None) -> int:
        total = 0
        for each in () if selections is None else selections.selections:
            match each:
                case FieldNode(alias=alias, selection_set=below):
                    total += (alias is not None) + self._below(below)
                case InlineFragmentNode(selection_set=below):
                    total += self._below(below)
                case FragmentSpreadNode(name=name):
                    total += self._fragment(name.value)
        return total

    def _fragment(self, name: str) -> int:
        known = self._counts.get(name)
        if known is None and name in self._fragments:
            # Zero until it is counted: another rule refuses a fragment that spreads itself.
            self._counts[name] = 0
            known = self._counts[name] = self._below(self._fragments[name].selection_set)
        return known or 0


class AliasLimit(ValidationRule):
    """Refuses operations with more than `MAX_ALIASES`."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        counter = AliasCounter(context.document)
        for each in context.document.definitions:
            if isinstance(each, OperationDefinitionNode) and counter.count(each) > MAX_ALIASES:
                context.report_error(
                    GraphQLError(f"An operation has at most {MAX_ALIASES} aliases.", each)
                )
