"""The contract's inputs about sandboxes and executions; each becomes what its service takes."""

from typing import TypeVar

import strawberry
from strawberry.types.unset import UnsetType

from schema.enums import SandboxStatus
from schema.scalars import JSON, Base64
from services import entities
from services.entities import UNSET, Unset
from services.errors import BadUserInputError
from services.executor import messages

T = TypeVar("T")


def given[T](value: T | UnsetType | None) -> T | None:
    """Read a field whose absence means the same as null."""
    return None if isinstance(value, UnsetType) else value


def _changed[T](value: T | UnsetType | None) -> T | Unset | None:
    return UNSET if isinstance(value, UnsetType) else value


def _json(value: object) -> messages.JSON:
    # GraphQL has parsed it from JSON, or from literals of the same kinds.
    return value  # type: ignore[return-value]


@strawberry.input
class SandboxFilter:
    """The contract's `SandboxFilter`."""

    status: list[SandboxStatus] | None = strawberry.UNSET
    metadata: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description="Every pair given must be in the sandbox's metadata.",
    )
    name_contains: str | None = strawberry.UNSET

    def entity(self) -> entities.SandboxFilter:
        """Make what the service takes. Raises `BadUserInputError` for odd metadata."""
        statuses = given(self.status)
        return entities.SandboxFilter(
            statuses=None
            if statuses is None
            else [entities.SandboxStatus(status.value) for status in statuses],
            metadata=_pairs(given(self.metadata)),
            name_contains=given(self.name_contains),
        )


def _pairs(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    raise BadUserInputError("`metadata` is an object of strings.", field="metadata")


@strawberry.input
class EnvironmentVariableInput:
    """The contract's `EnvironmentVariableInput`."""

    name: str
    value: str


def _environment(
    variables: list[EnvironmentVariableInput] | UnsetType | None,
) -> tuple[tuple[str, str], ...]:
    return tuple((variable.name, variable.value) for variable in given(variables) or ())


@strawberry.input
class CreateSandboxInput:
    """The contract's `CreateSandboxInput`."""

    name: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 200 characters."
    )
    metadata: JSON | None = strawberry.UNSET
    image: str | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "One of the images that the operator allows; the default image where left out."
        ),
    )
    environment: list[EnvironmentVariableInput] | None = strawberry.UNSET
    idle_timeout_seconds: float | None = strawberry.UNSET
    lifetime_seconds: float | None = strawberry.UNSET
    start: bool = strawberry.field(
        default=False,
        description=(
            "Start it too, and return it RUNNING. Where that fails the row stays, FAILED, "
            "and the error has `extensions.sandboxId`."
        ),
    )
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="A second create with the same key returns the first one's sandbox.",
    )

    def entity(self) -> entities.NewSandbox:
        """Make what the service takes."""
        return entities.NewSandbox(
            name=given(self.name),
            metadata=_json(given(self.metadata)),
            image=given(self.image),
            environment=_environment(self.environment),
            idle_timeout_seconds=given(self.idle_timeout_seconds),
            lifetime_seconds=given(self.lifetime_seconds),
            start=self.start,
            idempotency_key=given(self.idempotency_key),
        )


@strawberry.input(
    description=(
        "A field left out keeps its value, null clears it; `metadata` is replaced as a whole."
    )
)
class UpdateSandboxInput:
    """The contract's `UpdateSandboxInput`."""

    sandbox_id: strawberry.ID
    name: str | None = strawberry.UNSET
    metadata: JSON | None = strawberry.UNSET
    idle_timeout_seconds: float | None = strawberry.UNSET
    lifetime_seconds: float | None = strawberry.UNSET

    def entity(self) -> entities.SandboxChanges:
        """Make what the service takes."""
        metadata = _changed(self.metadata)
        return entities.SandboxChanges(
            name=_changed(self.name),
            metadata=metadata if isinstance(metadata, Unset) else _json(metadata),
            idle_timeout_seconds=_changed(self.idle_timeout_seconds),
            lifetime_seconds=_changed(self.lifetime_seconds),
        )


@strawberry.input
class StartSandboxInput:
    """The contract's `StartSandboxInput`."""

    sandbox_id: strawberry.ID


@strawberry.input
class StopSandboxInput:
    """The contract's `StopSandboxInput`."""

    sandbox_id: strawberry.ID


@strawberry.input
class RestartSandboxInput:
    """The contract's `RestartSandboxInput`."""

    sandbox_id: strawberry.ID


@strawberry.input
class DeleteSandboxInput:
    """The contract's `DeleteSandboxInput`."""

    sandbox_id: strawberry.ID


@strawberry.input
class InterruptExecutionInput:
    """The contract's `InterruptExecutionInput`."""

    execution_id: strawberry.ID


@strawberry.input
class ExecuteCodeInput:
    """The contract's `ExecuteCodeInput`."""

    sandbox_id: strawberry.ID
    code: str
    timeout_seconds: float | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "30 where left out; at most the sandbox's `limits.executionTimeoutSeconds`. "
            "Enforced by the server."
        ),
    )
    environment: list[EnvironmentVariableInput] | None = strawberry.field(
        default=strawberry.UNSET, description="Set for this execution only."
    )
    client_execution_id: str | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "The caller's own id, unique per sandbox over executions and installs, "
            "kept as long as the record:\n"
            "makes a retry safe. Where it is known already, every other field but `after` "
            "is ignored and the\n"
            "caller attaches (the mutation waits for the end likewise)."
        ),
    )
    after: int = strawberry.field(
        default=0,
        description="With `clientExecutionId`, on attaching: skip the events up to this one.",
    )

    def entity(self) -> entities.CodeToRun:
        """Make what the service takes."""
        return entities.CodeToRun(
            sandbox_id=self.sandbox_id,
            code=self.code,
            timeout_seconds=given(self.timeout_seconds),
            environment=_environment(self.environment),
            client_execution_id=given(self.client_execution_id),
            after=self.after,
        )


@strawberry.input
class ProvideInputInput:
    """The contract's `ProvideInputInput`."""

    execution_id: strawberry.ID
    input_seq: int = strawberry.field(
        description=(
            "The `seq` of the InputRequested that this answers; "
            "CONFLICT where another is open or it has been answered."
        )
    )
    text: str


@strawberry.input
class InstallPackagesInput:
    """The contract's `InstallPackagesInput`."""

    sandbox_id: strawberry.ID
    packages: list[str] = strawberry.field(
        description=(
            "PEP 508 names with versions and extras, as `numpy==2.1.0`; "
            "no URLs, paths or options. At most 50, 200 characters each."
        )
    )
    client_execution_id: str | None = strawberry.UNSET
    after: int = 0

    def entity(self) -> entities.PackagesToInstall:
        """Make what the service takes."""
        return entities.PackagesToInstall(
            sandbox_id=self.sandbox_id,
            packages=tuple(self.packages),
            client_execution_id=given(self.client_execution_id),
            after=self.after,
        )


@strawberry.input
class UploadFileInput:
    """The contract's `UploadFileInput`."""

    sandbox_id: strawberry.ID
    path: str
    content: Base64


@strawberry.input
class CreateUploadUrlInput:
    """The contract's `CreateUploadUrlInput`."""

    sandbox_id: strawberry.ID
    path: str
    expires_in_seconds: int = strawberry.field(default=300, description="At most 3600.")


@strawberry.input
class DeleteFileInput:
    """The contract's `DeleteFileInput`."""

    sandbox_id: strawberry.ID
    path: str
