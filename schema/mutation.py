"""What can be done."""

# mypy: disable-error-code="untyped-decorator"
# (Strawberry types its decorators as Any where they take arguments.)

# ruff: noqa: A002 - arguments bear the names that the contract gives them

from uuid import UUID

import strawberry

from resolvers import executions, files, packages, sandboxes
from schema import inputs, payloads
from schema.files import File
from schema.info import Info
from schema.nodes import Execution, Sandbox
from schema.selections import large_copies
from services.entities import SandboxId

EXECUTION = ("execution",)
"""Where a payload has it."""


@strawberry.type
class SandboxMutations:
    """What can be done to sandboxes."""

    @strawberry.mutation
    async def create_sandbox(
        self, info: Info, input: inputs.CreateSandboxInput
    ) -> payloads.CreateSandboxPayload:
        """Create one, and start it where asked."""
        created = await sandboxes.create(info.context, input.entity())
        return payloads.CreateSandboxPayload(sandbox=Sandbox.of(created))

    @strawberry.mutation(
        description=(
            "Change name, metadata or the time limits; extending the lifetime is the keep-alive."
        )
    )
    async def update_sandbox(
        self, info: Info, input: inputs.UpdateSandboxInput
    ) -> payloads.UpdateSandboxPayload:
        """Change what its owner may change."""
        updated = await sandboxes.update(info.context, input.sandbox_id, input.entity())
        return payloads.UpdateSandboxPayload(sandbox=Sandbox.of(updated))

    @strawberry.mutation(description="Idempotent: starting a RUNNING sandbox returns it.")
    async def start_sandbox(
        self, info: Info, input: inputs.StartSandboxInput
    ) -> payloads.StartSandboxPayload:
        """Start it and wait until it runs."""
        started = await sandboxes.start(info.context, input.sandbox_id)
        return payloads.StartSandboxPayload(sandbox=Sandbox.of(started))

    @strawberry.mutation(
        description=(
            "Idempotent. The workspace and the installed packages stay; "
            "the interpreter's state goes."
        )
    )
    async def stop_sandbox(
        self, info: Info, input: inputs.StopSandboxInput
    ) -> payloads.StopSandboxPayload:
        """Stop it and wait until nothing of it runs."""
        stopped = await sandboxes.stop(info.context, input.sandbox_id)
        return payloads.StopSandboxPayload(sandbox=Sandbox.of(stopped))

    @strawberry.mutation(description="Clear the interpreter's state; files and packages stay.")
    async def restart_sandbox(
        self, info: Info, input: inputs.RestartSandboxInput
    ) -> payloads.RestartSandboxPayload:
        """Give it a new interpreter."""
        restarted = await sandboxes.restart(info.context, input.sandbox_id)
        return payloads.RestartSandboxPayload(sandbox=Sandbox.of(restarted))

    @strawberry.mutation(
        description="Stops first where needed. Nothing of the sandbox is left behind."
    )
    async def delete_sandbox(
        self, info: Info, input: inputs.DeleteSandboxInput
    ) -> payloads.DeleteSandboxPayload:
        """Remove it."""
        deleted = await sandboxes.delete(info.context, input.sandbox_id)
        return payloads.DeleteSandboxPayload(deleted_sandbox_id=strawberry.ID(str(deleted)))


@strawberry.type
class ExecutionMutations:
    """What can be done in a running sandbox."""

    @strawberry.mutation(
        description=(
            "Run code and wait for the end. The live form is the subscription of the same name."
        )
    )
    async def execute_code(
        self, info: Info, input: inputs.ExecuteCodeInput
    ) -> payloads.ExecuteCodePayload:
        """Run code."""
        large = large_copies(info, EXECUTION)
        ended = await executions.run(info.context, input.entity(), large=large)
        return payloads.ExecuteCodePayload(execution=Execution.of(ended))

    @strawberry.mutation(
        description=(
            "Raise KeyboardInterrupt in the running code; "
            "a queued execution is taken off the queue."
        )
    )
    async def interrupt_execution(
        self, info: Info, input: inputs.InterruptExecutionInput
    ) -> payloads.InterruptExecutionPayload:
        """Interrupt code."""
        large = large_copies(info, EXECUTION)
        interrupted = await executions.interrupt(info.context, input.execution_id, large=large)
        return payloads.InterruptExecutionPayload(execution=Execution.of(interrupted))

    @strawberry.mutation(description="Answer an InputRequested event.")
    async def provide_input(
        self, info: Info, input: inputs.ProvideInputInput
    ) -> payloads.ProvideInputPayload:
        """Hand text to code that waits for it."""
        large = large_copies(info, EXECUTION)
        execution = await executions.provide_input(
            info.context, input.execution_id, input.input_seq, input.text, large=large
        )
        return payloads.ProvideInputPayload(execution=Execution.of(execution))

    @strawberry.mutation(
        description=(
            "Install packages and wait. The live form is the subscription of the same name."
        )
    )
    async def install_packages(
        self, info: Info, input: inputs.InstallPackagesInput
    ) -> payloads.InstallPackagesPayload:
        """Install packages."""
        large = large_copies(info, EXECUTION)
        installed = await packages.install(info.context, input.entity(), large=large)
        return payloads.InstallPackagesPayload.of(installed)


@strawberry.type
class FileMutations:
    """What can be done to a workspace."""

    @strawberry.mutation(
        description=(
            "Write one file, atomically, creating parent folders. "
            "At most 32 MiB; larger ones by `createUploadUrl`."
        )
    )
    async def upload_file(
        self, info: Info, input: inputs.UploadFileInput
    ) -> payloads.UploadFilePayload:
        """Write a file."""
        written = await files.upload(info.context, input.sandbox_id, input.path, input.content)
        sandbox_id = SandboxId(UUID(input.sandbox_id))
        return payloads.UploadFilePayload(file=File.of(sandbox_id, written))

    @strawberry.mutation(
        description=(
            "A signed address that takes one file's bytes by PUT, without a token, "
            "until it expires."
        )
    )
    async def create_upload_url(
        self, info: Info, input: inputs.CreateUploadUrlInput
    ) -> payloads.CreateUploadUrlPayload:
        """Sign an address."""
        address = await files.create_upload_url(
            info.context, input.sandbox_id, input.path, input.expires_in_seconds
        )
        return payloads.CreateUploadUrlPayload.of(address)

    @strawberry.mutation
    async def delete_file(
        self, info: Info, input: inputs.DeleteFileInput
    ) -> payloads.DeleteFilePayload:
        """Remove a file or a folder."""
        deleted = await files.delete(info.context, input.sandbox_id, input.path)
        return payloads.DeleteFilePayload(deleted_path=deleted)


@strawberry.type
class Mutation(SandboxMutations, ExecutionMutations, FileMutations):
    """The contract's `Mutation`."""
