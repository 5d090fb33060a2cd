"""Parsed and validated documents, kept, since clients send the same few again and again."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    parse,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from resolvers.operation import Operation, operation
from schema.answer_budget import AnswerBudget, answer_budget
from schema.answers import CollectedFields, collected_fields
from schema.costs import connections_of, excess
from schema.measures import SizeLimits
from services.errors import ErrorCode

MAX_DOCUMENTS = 512
MAX_TOKENS = 2_500
"""Validation takes time with the square of what one selection holds."""
MAX_ERRORS = 10
MAX_MESSAGE_CHARACTERS = 500
MAX_COMPARISONS = 50_000
"""Of fields that might not merge; over this the document is refused. A tenth of the default,
which lets one document of 2,500 tokens keep the process busy for a second."""
UNEXPLAINED = "Validation aborted."
"""What graphql-core says there."""
TOO_MUCH_TO_COMPARE = (
    "The document has too many fields that have to be compared with each other: write each field"
    " of a selection once."
)
RULES = (SizeLimits, MaybeNullValidationRule, OneOfInputValidationRule)
"""Beside graphql-core's: ours, and those that Strawberry adds."""
MAX_DOCUMENT_CHARACTERS = 16_384
"""Longer documents are parsed each time, so that nobody fills the memory with them."""


@dataclass(slots=True)
class KnownDocument:
    """A document that parses, and what is wrong with it once it has been validated."""

    document: DocumentNode
    collected: CollectedFields | None
    """What was collected of it; None where directives make that another for each operation."""
    errors: list[GraphQLError] | None = None


class KnownDocuments:
    """The documents used last, by their text."""

    def __init__(self, *, introspection: bool = True) -> None:
        """Begin empty, and have validation bounded."""
        self.rules = RULES if introspection else (*RULES, NoSchemaIntrospectionCustomRule)
        # The rule's own setting, which is read at each validation.
        overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = MAX_COMPARISONS
        self._known: OrderedDict[str, KnownDocument] = OrderedDict()
        self._connections: Mapping[str, int] | None = None

    def connections(self, schema: GraphQLSchema) -> Mapping[str, int]:
        """Return the connections of the one schema whose documents these are."""
        if self._connections is None:
            self._connections = connections_of(schema)
        return self._connections

    def get(self, query: str) -> KnownDocument:
        """Return the document, parsed. Raises `GraphQLSyntaxError`."""
        known = self._known.get(query)
        if known is not None:
            self._known.move_to_end(query)
            return known
        document = parse(query, max_tokens=MAX_TOKENS)
        known = KnownDocument(document, None if "@" in query else {})
        if len(query) <= MAX_DOCUMENT_CHARACTERS:
            self._known[query] = known
            if len(self._known) > MAX_DOCUMENTS:
                self._known.popitem(last=False)
        return known


class DocumentCache(SchemaExtension):
    """Gives an operation its document from those that are known."""

    def __init__(self, known: KnownDocuments) -> None:
        """Share what is known with every other operation."""
        self._documents = known
        self._known: KnownDocument | None = None

    def on_parse(self) -> Iterator[None]:
        """Parse, unless it has been done; here every operation begins."""
        context = self.execution_context
        operation.set(Operation(context.context))
        answer_budget.set(AnswerBudget())
        collected: CollectedFields | None = None
        context.parse_options["max_tokens"] = MAX_TOKENS
        # What does not parse is parsed again by Strawberry, which knows how to say so.
        with suppress(GraphQLSyntaxError):
            if context.query:
                self._known = self._documents.get(context.query)
                context.graphql_document = self._known.document
                collected = self._known.collected
        collected_fields.set({} if collected is None else collected)
        yield

    def on_validate(self) -> Iterator[None]:
        """Validate, unless it has been done; errors carry their code from here."""
        context = self.execution_context
        known = self._known
        if known is not None:
            if known.errors is None:
                found = validate(
                    context.schema._schema,  # noqa: SLF001 - graphql-core's schema has no other way
                    known.document,
                    (*context.validation_rules, *self._documents.rules),
                    max_errors=MAX_ERRORS,
                )
                known.errors = [_as_validation_error(error) for error in found]
            # A list of its own for each operation: the errors in it are replaced on the way out.
            context.pre_execution_errors = [*known.errors, *self._unnamed(known.document)]
            if not context.pre_execution_errors:
                context.pre_execution_errors += self._too_much(known.document)
        yield

    def _too_much(self, document: DocumentNode) -> Iterator[GraphQLError]:
        """Refuse what asks for too many nodes; with variables, each operation is another."""
        context = self.execution_context
        connections = self._documents.connections(context.schema._schema)  # noqa: SLF001 - as above
        # Most operations have no connection, and need not be walked through.
        if not any(name in (context.query or "") for name in connections):
            return
        fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        named = context._provided_operation_name  # noqa: SLF001 - as below
        for each in document.definitions:
            if not isinstance(each, OperationDefinitionNode):
                continue
            if named is None or (each.name is not None and each.name.value == named):
                found = excess(each, fragments, context.variables or {}, connections)
                if found is not None:
                    yield found

    def _unnamed(self, document: DocumentNode) -> Iterator[GraphQLError]:
        """Refuse to choose among several operations (GraphQL, section 6.1): Strawberry would."""
        named = self.execution_context._provided_operation_name  # noqa: SLF001 - else it is the first's
        operations = [
            each for each in document.definitions if isinstance(each, OperationDefinitionNode)
        ]
        if named is None and len(operations) > 1:
            yield _as_validation_error(
                GraphQLError(
                    "The document has several operations: name one by `operationName`.", operations
                )
            )


def _as_validation_error(error: GraphQLError) -> GraphQLError:
    message = TOO_MUCH_TO_COMPARE if error.message == UNEXPLAINED else error.message
    if len(message) > MAX_MESSAGE_CHARACTERS:
        # Some print the whole value that is wrong, with a line for each of its fields.
        message = f"{message[:MAX_MESSAGE_CHARACTERS]} ..."
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        extensions={"code": ErrorCode.GRAPHQL_VALIDATION_FAILED.value},
    )
