"""What mutations answer."""

from datetime import datetime
from typing import Self

import strawberry

from schema.files import File
from schema.nodes import Execution, Sandbox
from schema.packages import Package
from services import entities


@strawberry.type
class CreateSandboxPayload:
    """The contract's `CreateSandboxPayload`."""

    sandbox: Sandbox


@strawberry.type
class UpdateSandboxPayload:
    """The contract's `UpdateSandboxPayload`."""

    sandbox: Sandbox


@strawberry.type
class StartSandboxPayload:
    """The contract's `StartSandboxPayload`."""

    sandbox: Sandbox


@strawberry.type
class StopSandboxPayload:
    """The contract's `StopSandboxPayload`."""

    sandbox: Sandbox


@strawberry.type
class RestartSandboxPayload:
    """The contract's `RestartSandboxPayload`."""

    sandbox: Sandbox


@strawberry.type
class DeleteSandboxPayload:
    """The contract's `DeleteSandboxPayload`."""

    deleted_sandbox_id: strawberry.ID


@strawberry.type
class ExecuteCodePayload:
    """The contract's `ExecuteCodePayload`."""

    execution: Execution


@strawberry.type
class InterruptExecutionPayload:
    """The contract's `InterruptExecutionPayload`."""

    execution: Execution


@strawberry.type
class ProvideInputPayload:
    """The contract's `ProvideInputPayload`."""

    execution: Execution


@strawberry.type
class InstallPackagesPayload:
    """The contract's `InstallPackagesPayload`."""

    execution: Execution
    packages: list[Package]

    @classmethod
    def of(cls, installed: entities.Installed) -> Self:
        """Show a finished installation."""
        return cls(
            execution=Execution.of(installed.execution),
            packages=[Package.of(package) for package in installed.packages],
        )


@strawberry.type
class UploadFilePayload:
    """The contract's `UploadFilePayload`."""

    file: File


@strawberry.type
class CreateUploadUrlPayload:
    """The contract's `CreateUploadUrlPayload`."""

    url: str
    expires_at: datetime
    max_bytes: float

    @classmethod
    def of(cls, address: entities.UploadAddress) -> Self:
        """Show a signed address."""
        return cls(url=address.url, expires_at=address.expires_at, max_bytes=address.max_bytes)


@strawberry.type
class DeleteFilePayload:
    """The contract's `DeleteFilePayload`."""

    deleted_path: str
