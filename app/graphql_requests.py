"""What a client asks for, out of a body or of an address."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from graphql import GraphQLError
from starlette.requests import Request

from app.json_text import TooManyValuesError, decode
from app.negotiation import JSON_TYPE
from services.errors import ErrorCode

MAX_DOCUMENT_CHARACTERS = 100_000
MAX_VARIABLE_VALUES = 10_000
"""Values in an operation's variables, at any depth; a text counts one, however long."""
VARIABLES_TOO_MANY = f"An operation's variables hold at most {MAX_VARIABLE_VALUES} values."


class RequestRefusedError(Exception):
    """An HTTP request that holds no operation we would run."""

    headers: ClassVar[Mapping[str, str]] = {}
    """What the answer says beside it."""

    def __init__(
        self,
        message: str,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        *,
        code: ErrorCode = ErrorCode.BAD_USER_INPUT,
        **extensions: str,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = GraphQLError(message, extensions={"code": code.value, **extensions})


class CompressedError(RequestRefusedError):
    """A body under some coding: it is told which would be taken (RFC 9110, section 12.5.3)."""

    headers: ClassVar[Mapping[str, str]] = {"Accept-Encoding": "identity"}

    def __init__(self) -> None:
        super().__init__("Send it uncompressed.", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """One operation and its variables."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None


def has_too_many_values(variables: object) -> bool:
    """Whether coercing these variables would take long: it is done in one go, on the loop."""
    open_values, seen = [variables], 0
    while open_values:
        value = open_values.pop()
        inside = value.values() if isinstance(value, dict) else value
        if isinstance(inside, Collection) and not isinstance(inside, str):
            seen += len(inside)
            if seen > MAX_VARIABLE_VALUES:
                return True
            open_values += inside
    return False


def from_body(request: Request, body: bytes) -> GraphQLRequest:
    """Read a POST. Raises `RequestRefusedError`."""
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip().strip('"')
    if kind.strip() != JSON_TYPE or charset not in {"", "utf-8", "utf8"}:
        raise RequestRefusedError(f"Send {JSON_TYPE} in UTF-8.", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    codings = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    if {coding.strip() for coding in codings} - {"", "identity"}:
        raise CompressedError
    try:
        content = decode(body)
    except TooManyValuesError as error:
        raise _too_large(str(error)) from None
    except ValueError as error:
        raise RequestRefusedError("The body is no JSON.") from error
    if isinstance(content, list):
        raise RequestRefusedError("Send one operation a request: batching is off.")
    if not isinstance(content, dict):
        raise RequestRefusedError("The body is no JSON object.")
    return _checked(content)


def from_query(request: Request) -> GraphQLRequest:
    """Read a GET. Raises `RequestRefusedError`."""
    content: dict[str, object] = dict(request.query_params)
    for name in ("variables", "extensions"):
        text = request.query_params.get(name)
        if not text:
            content.pop(name, None)
            continue
        try:
            content[name] = decode(text)
        except TooManyValuesError as error:
            raise _too_large(str(error), field=name) from None
        except ValueError as error:
            raise RequestRefusedError(f"`{name}` is no JSON.", field=name) from error
    return _checked(content)


def _checked(content: dict[str, Any]) -> GraphQLRequest:
    query = content.get("query")
    if not isinstance(query, str) or not query:
        raise RequestRefusedError("`query` is a document's text.", field="query")
    if len(query) > MAX_DOCUMENT_CHARACTERS:
        raise _too_large(
            f"A document is at most {MAX_DOCUMENT_CHARACTERS} characters, without its variables."
        )
    for name in ("variables", "extensions"):
        if not isinstance(content.get(name), dict | None):
            raise RequestRefusedError(f"`{name}` is an object.", field=name)
    if has_too_many_values(content.get("variables")):
        raise _too_large(VARIABLES_TOO_MANY, field="variables")
    operation_name = content.get("operationName")
    if not isinstance(operation_name, str | None):
        raise RequestRefusedError("`operationName` is a string.", field="operationName")
    return GraphQLRequest(query, content.get("variables"), operation_name or None)


def _too_large(message: str, **extensions: str) -> RequestRefusedError:
    return RequestRefusedError(
        message,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        code=ErrorCode.PAYLOAD_TOO_LARGE,
        **extensions,
    )
