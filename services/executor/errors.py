"""Conditions that a session or the cluster reports; they cross Ray by pickle."""

from typing import Self


class ExecutorError(Exception):
    """Base of every condition that the executor names; the message says what to do."""

    def __init__(self, message: str, **details: str | float) -> None:
        """Keep the message and details that a caller may show, such as `limit` or `status`."""
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by message and details, since `Exception` forgets keyword arguments."""
        return _rebuild, (type(self), self.message, self.details)

    @classmethod
    def rebuild(cls, message: str, details: dict[str, str | int | float]) -> Self:
        """Make the error again on the other side of Ray."""
        return cls(message, **details)


def _rebuild(
    kind: type[ExecutorError], message: str, details: dict[str, str | int | float]
) -> ExecutorError:
    return kind.rebuild(message, details)


class SessionGoneError(ExecutorError):
    """No actor answers for this session: it was stopped, or it died."""


class SessionDeadError(ExecutorError):
    """The actor answers, but its workspace is not there; only calls about files say so."""


class UnknownExecutionError(ExecutorError):
    """The session does not know an execution of this id (any more)."""


class QueueFullError(ExecutorError):
    """The session's queue of executions is at its bound; `details['limit']` says which."""


class NotWaitingError(ExecutorError):
    """The execution is not waiting for this input, or not running any more."""


class InvalidPathError(ExecutorError):
    """A path leaves the workspace, passes a symlink, or names the wrong kind of thing."""


class FileMissingError(ExecutorError):
    """There is nothing at this path."""


class FileTooLargeError(ExecutorError):
    """The bytes are over a limit; `details['limit']` is that limit in bytes."""


class DiskFullError(ExecutorError):
    """The workspace's disk limit, in bytes or in files, is reached."""


class InvalidRequirementError(ExecutorError):
    """A package requirement is not a plain PEP 508 name with versions and extras."""


class NoCapacityError(ExecutorError):
    """The cluster has no room for one more session just now."""


class ClusterUnavailableError(ExecutorError):
    """Ray did not answer, or not in time; trying again is safe."""


class SandboxStartError(ExecutorError):
    """The session's container or interpreter could not be started; the message says why."""


class SandboxSilentError(ExecutorError):
    """What runs in the container does not answer, or not in time; trying again is safe."""
