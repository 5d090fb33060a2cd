"""The contract's enums; their values are those of the services' own."""

from enum import Enum

import strawberry


@strawberry.enum
class SandboxStatus(Enum):
    """The contract's `SandboxStatus`."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    FAILED = strawberry.enum_value(
        "FAILED",
        description=(
            "It could not be started or died; `statusReason` says why. It can be started again."
        ),
    )


@strawberry.enum
class FileKind(Enum):
    """The contract's `FileKind`."""

    FILE = "FILE"
    DIRECTORY = "DIRECTORY"
    SYMLINK = "SYMLINK"
    OTHER = "OTHER"


@strawberry.enum
class ExecutionStatus(Enum):
    """The contract's `ExecutionStatus`."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = strawberry.enum_value("FAILED", description="The code raised.")
    TIMED_OUT = "TIMED_OUT"
    INTERRUPTED = "INTERRUPTED"
    LOST = strawberry.enum_value(
        "LOST",
        description="The sandbox died under it; `error` says how (out of memory, say).",
    )


@strawberry.enum
class ExecutionKind(Enum):
    """The contract's `ExecutionKind`."""

    CODE = "CODE"
    INSTALL = strawberry.enum_value(
        "INSTALL", description="Of packages; it is not queued behind code."
    )


@strawberry.enum
class OutputStream(Enum):
    """The contract's `OutputStream`."""

    STDOUT = "STDOUT"
    STDERR = "STDERR"


@strawberry.enum(description="Every error carries one of these as `extensions.code`.")
class ErrorCode(Enum):
    """The contract's `ErrorCode`."""

    UNAUTHENTICATED = strawberry.enum_value(
        "UNAUTHENTICATED", description="No token, or one that does not verify."
    )
    FORBIDDEN = strawberry.enum_value("FORBIDDEN", description="A good token that may not do this.")
    NOT_FOUND = strawberry.enum_value(
        "NOT_FOUND",
        description=(
            "No such thing that the viewer may see. Another tenant's things answer so too."
        ),
    )
    BAD_USER_INPUT = strawberry.enum_value(
        "BAD_USER_INPUT", description="An argument is off; `extensions.field` names it."
    )
    GRAPHQL_PARSE_FAILED = strawberry.enum_value(
        "GRAPHQL_PARSE_FAILED", description="The document does not parse or validate."
    )
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    CONFLICT = strawberry.enum_value(
        "CONFLICT",
        description=(
            "The thing is in a state that does not allow this; `extensions.status` says which."
        ),
    )
    QUOTA_EXCEEDED = strawberry.enum_value(
        "QUOTA_EXCEEDED", description="One of the viewer's limits; `extensions.limit` names it."
    )
    RATE_LIMITED = strawberry.enum_value(
        "RATE_LIMITED", description="`extensions.retryAfterSeconds` says when to try again."
    )
    CAPACITY_EXHAUSTED = strawberry.enum_value(
        "CAPACITY_EXHAUSTED",
        description="The cluster has no room for one more sandbox just now.",
    )
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    SERVICE_UNAVAILABLE = strawberry.enum_value(
        "SERVICE_UNAVAILABLE",
        description=(
            "The sandbox, the database or the cluster did not answer; trying again is safe."
        ),
    )
    INTERNAL_SERVER_ERROR = strawberry.enum_value(
        "INTERNAL_SERVER_ERROR",
        description=(
            "A fault of ours; `extensions.errorId` finds it in the log. Nothing else is said."
        ),
    )
