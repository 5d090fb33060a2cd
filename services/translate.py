"""What the executor and the database report, in the words of the product's errors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from db.errors import DatabaseUnavailableError
from services.entities import SandboxStatus
from services.errors import (
    BadUserInputError,
    CapacityExhaustedError,
    ConflictError,
    NotFoundError,
    PayloadTooLargeError,
    ServiceError,
    ServiceUnavailableError,
)
from services.executor import errors

CAPACITY_RETRY_SECONDS = 5

_TRANSLATIONS: Mapping[type[errors.ExecutorError], Callable[[str], ServiceError]] = {
    errors.SessionGoneError: lambda _: ConflictError(
        "The sandbox is not running any more: start it again.", status=SandboxStatus.FAILED.value
    ),
    errors.SessionDeadError: ServiceUnavailableError,
    errors.UnknownExecutionError: NotFoundError,
    errors.QueueFullError: lambda message: ConflictError(
        message, status=SandboxStatus.RUNNING.value, limit="queue"
    ),
    errors.NotWaitingError: ConflictError,
    errors.InvalidPathError: lambda message: BadUserInputError(message, field="path"),
    errors.FileMissingError: NotFoundError,
    errors.FileTooLargeError: PayloadTooLargeError,
    errors.DiskFullError: PayloadTooLargeError,
    errors.InvalidRequirementError: lambda message: BadUserInputError(message, field="packages"),
    errors.NoCapacityError: lambda message: CapacityExhaustedError(
        message, retryAfterSeconds=CAPACITY_RETRY_SECONDS
    ),
    errors.ClusterUnavailableError: ServiceUnavailableError,
    errors.SandboxStartError: ServiceUnavailableError,
}


def from_executor(error: errors.ExecutorError) -> ServiceError:
    """Return what a client is told; an unnamed condition is one that may pass."""
    return _TRANSLATIONS.get(type(error), ServiceUnavailableError)(error.message)


@contextmanager
def executor_errors() -> Iterator[None]:
    """Turn what the executor raises inside into the product's errors."""
    try:
        yield
    except errors.ExecutorError as error:
        raise from_executor(error) from error


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn a database that does not answer into `ServiceUnavailableError`."""
    try:
        yield
    except DatabaseUnavailableError as error:
        raise ServiceUnavailableError("The database did not answer: try again.") from error
