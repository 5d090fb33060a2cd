"""What followers of sandboxes are told."""

from datetime import datetime
from typing import Self

import strawberry

from schema.nodes import Sandbox
from services import entities


@strawberry.type(description="A sandbox after a change; `deletedSandboxId` alone after a deletion.")
class SandboxChange:
    """The contract's `SandboxChange`."""

    sandbox: Sandbox | None
    deleted_sandbox_id: strawberry.ID | None
    at: datetime

    @classmethod
    def of(cls, change: entities.SandboxChange) -> Self:
        """Show a change."""
        deleted = change.deleted_sandbox_id
        return cls(
            sandbox=None if change.sandbox is None else Sandbox.of(change.sandbox),
            deleted_sandbox_id=None if deleted is None else strawberry.ID(str(deleted)),
            at=change.at,
        )
