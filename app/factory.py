"""Puts the application together."""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from app.allocator import return_large_blocks
from app.application import Application
from app.backend import Backend, BackendHolder
from app.connections import Connections
from app.graphql_http import GraphQLEndpoint
from app.graphql_ws import GraphQLSockets
from app.health import Ready, health
from app.in_flight import InFlight
from app.lifespan import open_backend
from app.origins import Origins
from app.pages import STATIC_ROUTE, Page
from app.requests import RequestIds
from app.settings import Settings, SettingsError
from app.token import DEFAULT_SECONDS, DEVELOPER, development_token
from app.transfers import Transfers
from schema.build import build_schema
from services.signing import FILES_ROUTE


def create_app(
    settings: Settings | None = None,
    open_backend: Callable[[Settings], AbstractAsyncContextManager[Backend]] = open_backend,
) -> ASGIApp:
    """Make the application; nothing is opened before its lifespan begins.

    Without settings they are read, and what is wrong with them ends the process in one line.
    """
    try:
        settings = settings or Settings.read()
    except SettingsError as error:
        sys.exit(f"The settings do not allow a start: {error}.")
    return_large_blocks()
    holder = BackendHolder()
    routes: ASGIApp = Starlette(routes=_routes(settings, holder))
    routes = RequestIds(Origins(routes, settings.allowed_origins))
    return Application(routes, holder, partial(open_backend, settings))


async def _to_graphql(_request: Request) -> Response:
    """Lead who asks for nothing in particular to what there is."""
    return RedirectResponse("/graphql")


def _routes(settings: Settings, holder: BackendHolder) -> list[BaseRoute]:
    schema = build_schema(introspection=settings.introspection_served)
    page = _page(settings)
    connections, in_flight = Connections(settings.max_connections), InFlight()
    graphql = GraphQLEndpoint(schema, holder, page, connections, in_flight)
    transfer = Transfers(holder, in_flight)
    routes: list[BaseRoute] = [
        Route("/", _to_graphql),
        Route("/graphql", graphql.serve, methods=["GET", "POST"]),
        WebSocketRoute(
            "/graphql",
            GraphQLSockets(schema, holder, settings.allowed_origins, connections, in_flight),
        ),
        Route("/health", health),
        Route("/ready", Ready(holder).serve),
        Route(f"{FILES_ROUTE}/{{signature}}", transfer.serve, methods=["GET", "HEAD", "PUT"]),
    ]
    if page is not None:
        routes.append(Mount(STATIC_ROUTE, page.files))
    return routes


def _page(settings: Settings) -> Page | None:
    if not settings.graphiql_served:
        return None
    if not settings.graphiql_has_token:
        return Page()
    return Page(make_token=partial(development_token, settings, DEVELOPER, DEFAULT_SECONDS))
