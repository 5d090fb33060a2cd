"""The least that a GraphQL subscription costs: Strawberry alone, one item, the same server."""

from collections.abc import AsyncGenerator

import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    """Required of a schema."""

    @strawberry.field
    def nothing(self) -> str:
        """Say that the server is up."""
        return ""


@strawberry.type
class Subscription:
    """One item, at once."""

    @strawberry.subscription
    async def item(self) -> AsyncGenerator[str, None]:
        """Yield one item."""
        yield "hi\n"


_graphql = GraphQL[None, None](strawberry.Schema(Query, subscription=Subscription))
app = Starlette(routes=[Route("/graphql", _graphql), WebSocketRoute("/graphql", _graphql)])
