"""What is known of who asks, and the services that answer."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.entities import Viewer
from services.errors import UnauthenticatedError
from services.execution_pages import ExecutionPages
from services.executions import ExecutionService
from services.files import FileService
from services.packages import PackageService
from services.sandboxes import SandboxService


@dataclass(frozen=True)
class Services:
    """Everything that resolvers may call."""

    sandboxes: SandboxService
    executions: ExecutionService
    pages: ExecutionPages
    packages: PackageService
    files: FileService


@dataclass
class Context:
    """One HTTP request, or one websocket with all its operations."""

    services: Services
    request_id: str
    verified: Viewer | None = None
    connection_params: dict[str, object] = field(default_factory=dict)

    @property
    def viewer(self) -> Viewer:
        """The user that the token names, as long as the token is valid.

        A websocket outlives its token, so that this raises `UnauthenticatedError` for
        what begins after the expiry.
        """
        if self.verified is None:
            raise UnauthenticatedError("Send a token: `Authorization: Bearer <jwt>`.")
        if self.verified.expires_at <= datetime.now(UTC):
            raise UnauthenticatedError("The token has expired: connect again with a new one.")
        return self.verified
