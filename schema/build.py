"""The schema as it is served."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.answers import AnswerExecutor
from schema.documents import DocumentCache, KnownDocuments
from schema.enums import ErrorCode
from schema.errors import client_errors, without_suggestion
from schema.events import EVENT_TYPES
from schema.hooks import Hooks
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription


class Schema(strawberry.Schema):
    """Strawberry's schema, with every error on its way out turned into the contract's."""

    suggests = True
    """Whether errors say which names there are instead."""

    def create_extensions_runner(
        self, execution_context: ExecutionContext, extensions: list[SchemaExtension]
    ) -> Hooks:
        """Run the hooks that there are."""
        return Hooks(execution_context=execution_context, extensions=extensions)

    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002 - Strawberry's signature
    ) -> None:
        """Replace the errors in place: this list is the result's own, on every transport."""
        told = client_errors(errors)
        errors[:] = told if self.suggests else map(without_suggestion, told)


def build_schema(*, introspection: bool = True) -> Schema:
    """Build the schema; documents are kept per schema.

    Without `introspection` no names are told to who does not know them, by errors either.
    """
    known = KnownDocuments(introspection=introspection)
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[*EVENT_TYPES, ErrorCode],
        # One alone: each costs every operation its hooks.
        extensions=[lambda: DocumentCache(known)],
        execution_context_class=AnswerExecutor,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    schema.suggests = introspection
    return schema
