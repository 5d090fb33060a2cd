"""GraphQL over HTTP: one operation a request, answered as JSON.

After the GraphQL-over-HTTP draft: `application/graphql-response+json` tells failures by
status, `application/json` answers 200 to every well-formed request. Queries may be asked by
GET; mutations take POST; subscriptions take POST with a format of streams, or the websocket.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from app.backend import BackendHolder
from app.bodies import read_body
from app.connections import Connections
from app.graphql_requests import GraphQLRequest, RequestRefusedError, from_body, from_query
from app.graphql_streams import Results, StreamResponse
from app.in_flight import InFlight
from app.json_text import encode
from app.negotiation import JSON_TYPE, READS, RESPONSE_TYPE, negotiate, wants_page
from app.pages import Page
from app.tokens import viewer_of
from app.wires import EVENT_STREAM_TYPE, MULTIPART_TYPE, Wire, answer_of, wire_for
from app.writing import PIECE_BYTES, LargeResponse
from resolvers.context import Context
from schema.build import Schema
from schema.errors import client_error, service_error
from services.entities import UserId
from services.errors import (
    ErrorCode,
    ForbiddenError,
    PayloadTooLargeError,
    QuotaExceededError,
    RateLimitedError,
    ServiceError,
    ServiceUnavailableError,
    UnauthenticatedError,
)

MAX_BODY_BYTES = 48 * 1024 * 1024
"""Lets a file of 32 MiB pass in base64."""

_STATUS: dict[type[ServiceError], HTTPStatus] = {
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    QuotaExceededError: HTTPStatus.TOO_MANY_REQUESTS,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    ServiceUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True)
class GraphQLEndpoint:
    """Answers GET, its HEAD, and POST /graphql."""

    schema: Schema
    holder: BackendHolder
    page: Page | None
    connections: Connections
    in_flight: InFlight

    async def serve(self, request: Request) -> Response:
        """Serve the page to a browser, else run the one operation."""
        response = await self._serve(request)
        # One address has a page, answers and streams: caches are to know by what it chooses.
        response.headers.add_vary_header("Accept")
        return response

    async def _serve(self, request: Request) -> Response:
        if self.page is not None and wants_page(request):
            return await self.page.response(request)
        accept = request.headers.get("accept")
        media, wire = negotiate(accept), wire_for(accept)
        try:
            return await self._answer(request, media, wire)
        except RequestRefusedError as error:
            refusal = _refusal(media or JSON_TYPE, error.status, error.error)
            refusal.headers.update(error.headers)
            return refusal
        except ServiceError as error:
            status = _STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
            return _refusal(media or JSON_TYPE, status, service_error(error))
        except ClientDisconnect:
            return Response(None, HTTPStatus.REQUEST_TIMEOUT, {"Connection": "close"})
        except Exception as error:  # noqa: BLE001 - logged and masked like any other
            masked = client_error(GraphQLError(str(error), original_error=error))
            return _refusal(media or JSON_TYPE, HTTPStatus.INTERNAL_SERVER_ERROR, masked)

    async def _answer(self, request: Request, media: str | None, wire: Wire | None) -> Response:
        reads = request.method in READS
        if reads and wire is not None:
            if media is None:
                raise RequestRefusedError("Streams take POST.", HTTPStatus.METHOD_NOT_ALLOWED)
            wire = None
        if media is None and wire is None:
            raise RequestRefusedError(
                f"Accept {RESPONSE_TYPE}, {JSON_TYPE} or {EVENT_STREAM_TYPE}.",
                HTTPStatus.NOT_ACCEPTABLE,
            )
        asked = from_query(request) if reads else None
        context = await self._context(request)
        with self.in_flight.hold(context.viewer.id) as take:
            if asked is None:
                body = await read_body(request, MAX_BODY_BYTES, take)
                asked = from_body(request, body)
            if media is None and wire is not None:
                return self._stream(wire, asked, context)
            try:
                result = await self._run(asked, context, request.method)
            except InvalidOperationTypeError as error:
                if wire is None or error.operation_type is not OperationType.SUBSCRIPTION:
                    raise _misplaced(error.operation_type) from error
                return self._stream(wire, asked, context)
        return self._kept(_response(media or JSON_TYPE, result), context.viewer.id)

    def _kept(self, response: Response, user: UserId) -> Response:
        """Count a large answer as long as it waits to be taken."""
        if len(response.body) <= PIECE_BYTES:
            return response
        with ExitStack() as stack:
            stack.enter_context(self.in_flight.hold(user))(len(response.body))
            return LargeResponse(response, stack.pop_all().close)

    def _stream(self, wire: Wire, asked: GraphQLRequest, context: Context) -> Response:
        """Answer by a stream, whatever the operation is: a query's has one result."""

        async def open_results() -> Results:
            return await self.schema.stream(
                asked.query,
                variable_values=asked.variables,
                operation_name=asked.operation_name,
                context_value=context,
            )

        user = context.viewer.id
        if not self.connections.take(user):
            limit = self.connections.limit
            raise QuotaExceededError(
                f"A user has {limit} connections at once: close one.", limit="connections"
            )
        return StreamResponse(
            wire,
            open_results,
            expires_at=context.viewer.expires_at,
            stopping=self.holder.stopping,
            hold=partial(self.in_flight.hold, user),
            on_end=partial(self.connections.give_back, user),
        )

    async def _context(self, request: Request) -> Context:
        backend = self.holder.backend
        viewer = await viewer_of(backend, request.headers.get("authorization"))
        await backend.rates.take(viewer.id)
        return Context(backend.services, request.state.request_id, viewer)

    async def _run(self, asked: GraphQLRequest, context: Context, method: str) -> ExecutionResult:
        allowed = {OperationType.QUERY}
        if method == "POST":
            allowed.add(OperationType.MUTATION)
        try:
            return await self.schema.execute(
                asked.query,
                variable_values=asked.variables,
                operation_name=asked.operation_name,
                context_value=context,
                allowed_operation_types=allowed,
            )
        except CannotGetOperationTypeError as error:
            raise RequestRefusedError(
                error.as_http_error_reason(), code=ErrorCode.GRAPHQL_VALIDATION_FAILED
            ) from error


def _misplaced(kind: OperationType) -> RequestRefusedError:
    if kind is OperationType.MUTATION:
        return RequestRefusedError("Mutations take POST.", HTTPStatus.METHOD_NOT_ALLOWED)
    return RequestRefusedError(
        "Subscriptions take the websocket at this address, protocol graphql-transport-ws, or a "
        f"POST that accepts {EVENT_STREAM_TYPE} or {MULTIPART_TYPE};subscriptionSpec=1.0."
    )


def _response(media: str, result: ExecutionResult) -> Response:
    answer = answer_of(result)
    refused = "data" not in answer and media == RESPONSE_TYPE
    return _json(media, HTTPStatus.BAD_REQUEST if refused else HTTPStatus.OK, answer)


def _refusal(media: str, status: HTTPStatus, error: GraphQLError) -> Response:
    response = _json(media, status, {"errors": [error.formatted]})
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if seconds := (error.extensions or {}).get("retryAfterSeconds"):
        # In whole seconds (RFC 9110, section 10.2.3).
        response.headers["Retry-After"] = str(math.ceil(seconds))
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "POST"
    return response


def _json(media: str, status: HTTPStatus, answer: object) -> Response:
    return Response(
        encode(answer),
        status_code=status,
        headers={
            "Content-Type": f"{media}; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
