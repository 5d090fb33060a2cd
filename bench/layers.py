"""One server with one address for each layer that our API puts over plain Strawberry.

`/plain` is Strawberry alone, `/cached` the same with Strawberry's own caches of documents,
`/tokens` with our tokens besides, `/limits` with our endpoint, its checks and limits instead,
`/memory` our whole application with services that answer from memory.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import cast

import strawberry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, SchemaExtension, ValidationCache

from app.backend import Backend, BackendHolder
from app.collector import settled
from app.connections import Connections
from app.factory import create_app
from app.graphql_http import GraphQLEndpoint
from app.in_flight import InFlight
from app.instance import open_instance
from app.logs import configure_logs
from app.origins import Origins
from app.requests import RequestIds
from app.settings import Settings
from app.tokens import viewer_of
from bench.memory import in_memory
from bench.plain import Query
from schema.answers import AnswerExecutor
from schema.build import Schema
from schema.documents import DocumentCache, KnownDocuments
from services.auth import TokenVerifier
from services.entities import Viewer
from services.errors import ServiceError
from services.rates import RateLimiter

OPERATIONS = 100_000
"""A second, of one user: the rate is counted and never reached."""
PATH = "/graphql"


class WithTokens(GraphQL[Viewer, None]):
    """Strawberry's endpoint, behind our tokens."""

    def __init__(self, schema: strawberry.Schema, backend: Backend) -> None:
        super().__init__(schema, graphql_ide=None)
        self._backend = backend

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Viewer:
        """Verify the token."""
        del response
        try:
            return await viewer_of(self._backend, request.headers.get("authorization"))
        except ServiceError as error:
            raise HTTPException(HTTPStatus.UNAUTHORIZED, error.message) from error


class AllWell:
    """Says that nothing is missing."""

    async def problems(self) -> Sequence[str]:
        """Find none."""
        return ()


def create() -> ASGIApp:
    """Make what is served in a process of its own."""
    settings = Settings.read()
    configure_logs(production=settings.production, level=settings.log_level)
    return layers(settings)


def layers(settings: Settings) -> ASGIApp:
    """Serve each layer at its address."""
    secret = open_instance(settings).jwt_secret
    backend = Backend(
        in_memory(), TokenVerifier(secret), RateLimiter(OPERATIONS, OPERATIONS), AllWell()
    )
    cached = _plain(ParserCache, ValidationCache)
    apps: Mapping[str, ASGIApp] = {
        "plain": _routed(GraphQL[None, None](_plain(), graphql_ide=None)),
        "cached": _routed(GraphQL[None, None](cached, graphql_ide=None)),
        "tokens": _routed(WithTokens(cached, backend)),
        "limits": _limited(settings, backend),
        "memory": _ours(settings, backend),
    }

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await apps["memory"](scope, receive, send)
            return
        name = cast("str", scope["path"]).strip("/")
        await apps[name]({**scope, "path": PATH, "raw_path": PATH.encode()}, receive, send)

    return route


def _plain(*extensions: type[SchemaExtension]) -> strawberry.Schema:
    made = [lambda kind=kind: kind() for kind in extensions]
    return strawberry.Schema(Query, extensions=made)


def _routed(endpoint: ASGIApp) -> ASGIApp:
    return Starlette(routes=[Route(PATH, endpoint)])


def _limited(settings: Settings, backend: Backend) -> ASGIApp:
    """Serve the plain types as ours are served."""
    known = KnownDocuments()
    schema = Schema(
        Query,
        extensions=[lambda: DocumentCache(known)],
        execution_context_class=AnswerExecutor,
    )
    holder = BackendHolder()
    holder.put(backend)
    connections = Connections(settings.max_connections)
    endpoint = GraphQLEndpoint(schema, holder, None, connections, InFlight())
    routes = Starlette(routes=[Route(PATH, endpoint.serve, methods=["GET", "POST"])])
    return RequestIds(Origins(routes, settings.allowed_origins))


def _ours(settings: Settings, backend: Backend) -> ASGIApp:
    @asynccontextmanager
    async def opened(_settings: Settings) -> AsyncIterator[Backend]:
        # As for the API's own backend; the process is one, so that it is for all layers alike.
        with settled():
            yield backend

    return create_app(settings, opened)
