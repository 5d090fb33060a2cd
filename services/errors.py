"""The product's errors: one base, a fixed code each, and a message that says what to do."""

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """The contract's `ErrorCode`: `extensions.code` of every error."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    CONFLICT = "CONFLICT"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    RATE_LIMITED = "RATE_LIMITED"
    CAPACITY_EXHAUSTED = "CAPACITY_EXHAUSTED"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"


class ServiceError(Exception):
    """Base of every error that a client is told about as it is."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_SERVER_ERROR

    def __init__(self, message: str, **extensions: str | float) -> None:
        """Keep the message and what goes beside the code, such as `field` or `sandboxId`."""
        super().__init__(message)
        self.message = message
        self.extensions = extensions


class UnauthenticatedError(ServiceError):
    """No token, or one that does not verify."""

    code = ErrorCode.UNAUTHENTICATED


class ForbiddenError(ServiceError):
    """A good token that may not do this."""

    code = ErrorCode.FORBIDDEN


class NotFoundError(ServiceError):
    """No such thing that the viewer may see."""

    code = ErrorCode.NOT_FOUND


class BadUserInputError(ServiceError):
    """An argument is off; `field` names it."""

    code = ErrorCode.BAD_USER_INPUT

    def __init__(self, message: str, *, field: str, **extensions: str | float) -> None:
        """Name the field, as the schema spells it."""
        super().__init__(message, field=field, **extensions)


class ConflictError(ServiceError):
    """The thing is in a state that does not allow this; `status` says which."""

    code = ErrorCode.CONFLICT


class QuotaExceededError(ServiceError):
    """One of the viewer's limits; `limit` names it."""

    code = ErrorCode.QUOTA_EXCEEDED


class RateLimitedError(ServiceError):
    """Too many in a short time; `retryAfterSeconds` says when to try again."""

    code = ErrorCode.RATE_LIMITED


class CapacityExhaustedError(ServiceError):
    """The cluster has no room for one more sandbox just now."""

    code = ErrorCode.CAPACITY_EXHAUSTED


class PayloadTooLargeError(ServiceError):
    """More bytes than the limit that the message names."""

    code = ErrorCode.PAYLOAD_TOO_LARGE


class UnrecordedError(ServiceError):
    """Code was begun and could not be put on record: to send it again may run it twice."""


class ServiceUnavailableError(ServiceError):
    """The sandbox, the database or the cluster did not answer; trying again is safe."""

    code = ErrorCode.SERVICE_UNAVAILABLE
