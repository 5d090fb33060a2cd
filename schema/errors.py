"""The one place where whatever went wrong becomes a GraphQL error with a code."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import structlog
from graphql import (
    ArgumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    Node,
    ValueNode,
    VariableDefinitionNode,
)
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from services.errors import ErrorCode, ServiceError

_log = structlog.get_logger(__name__)

_AT = re.compile(r"has invalid value at ([^:]*):")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_FIELD = re.compile(r"(?:required|unknown) field '([^']+)'")
_ARGUMENT = re.compile(r"^Argument '([^']+)'")
_SUGGESTION = " Did you mean "

_LOGGED = (ErrorCode.SERVICE_UNAVAILABLE.value, ErrorCode.INTERNAL_SERVER_ERROR.value)
_QUOTING = ("packages", "path")
"""Fields whose messages repeat what was sent: an address may hold a token."""
LOGGED_CHARACTERS = 100

MASKED = "Something went wrong on our side; the log has it under `extensions.errorId`."


def client_errors(errors: Sequence[GraphQLError]) -> list[GraphQLError]:
    """Turn all errors of an operation; what was refused has one line in the log."""
    told = [client_error(error) for error in errors]
    refused = [each for each in zip(errors, told, strict=True) if _is_refusal(each[1])]
    if refused:
        _log_refusal(*refused[0], len(refused))
    return told


def client_error(error: GraphQLError) -> GraphQLError:
    """Turn any error into what the client is told; what isn't ours is logged and masked."""
    if "code" in (error.extensions or {}):
        return error
    cause = _cause(error)
    if isinstance(cause, ServiceError):
        if cause.code is ErrorCode.SERVICE_UNAVAILABLE:
            _log.warning("service_unavailable", path=_path(error), reason=cause.message)
        return _located(error, cause.message, cause.code, **cause.extensions)
    if isinstance(error, GraphQLSyntaxError):
        return _located(error, error.message, ErrorCode.GRAPHQL_PARSE_FAILED)
    if isinstance(
        cause, MissingQueryError | CannotGetOperationTypeError | InvalidOperationTypeError
    ):
        return _located(error, error.message, ErrorCode.GRAPHQL_VALIDATION_FAILED)
    if cause is None and _about_input(error):
        return _located(error, error.message, ErrorCode.BAD_USER_INPUT, **_field(error))
    return _masked(error, cause or error)


def service_error(error: ServiceError) -> GraphQLError:
    """Turn an error from before the execution, such as a refused token, into GraphQL's."""
    return GraphQLError(error.message, extensions={"code": error.code.value, **error.extensions})


def without_suggestion(error: GraphQLError) -> GraphQLError:
    """Leave out what graphql-core guesses: names that the caller may not know."""
    message, found, _ = error.message.partition(_SUGGESTION)
    if not found:
        return error
    # Another one: errors of a document that is known are told again.
    return _reworded(error, message, error.extensions)


def _cause(error: GraphQLError) -> BaseException | None:
    """Return what was raised below all wrapping; None where it was graphql-core itself."""
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _about_input(error: GraphQLError) -> bool:
    node: Node | None = error.nodes[0] if error.nodes else None
    return isinstance(node, VariableDefinitionNode | ArgumentNode | ValueNode)


def _field(error: GraphQLError) -> dict[str, str]:
    """Name the input that is off, as deep as the message tells."""
    message = error.message
    if found := _FIELD.search(message):
        return {"field": found[1]}
    if (found := _AT.search(message)) and (names := _NAME.findall(found[1])):
        return {"field": names[-1]}
    if found := _ARGUMENT.search(message):
        return {"field": found[1]}
    node = error.nodes[0] if error.nodes else None
    return {"field": node.variable.name.value} if isinstance(node, VariableDefinitionNode) else {}


def _is_refusal(told: GraphQLError) -> bool:
    """Whether it is the client's to mend; the others have been logged already."""
    return (told.extensions or {}).get("code") not in _LOGGED


def _log_refusal(error: GraphQLError, told: GraphQLError, count: int) -> None:
    """Log the first of `count` errors, with the message where it can't show what was sent."""
    cause, extensions = _cause(error), told.extensions or {}
    field, path = extensions.get("field"), _path(told)
    ours = isinstance(cause, ServiceError) and field not in _QUOTING
    _log.info(
        "operation_refused",
        code=extensions.get("code"),
        path=path and path[:LOGGED_CHARACTERS],
        field=field and field[:LOGGED_CHARACTERS],
        errors=count,
        **({"message": told.message} if ours else {}),
    )


def _masked(error: GraphQLError, cause: BaseException) -> GraphQLError:
    error_id = uuid4().hex
    _log.error("internal_error", error_id=error_id, path=_path(error), exc_info=cause)
    return _located(error, MASKED, ErrorCode.INTERNAL_SERVER_ERROR, errorId=error_id)


def _path(error: GraphQLError) -> str | None:
    return None if error.path is None else ".".join(map(str, error.path))


def _located(
    error: GraphQLError, message: str, code: ErrorCode, **extensions: str | float
) -> GraphQLError:
    return _reworded(error, message, {"code": code.value, **extensions})


def _reworded(error: GraphQLError, message: str, extensions: dict[str, Any] | None) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )
