"""What an actor holds of its session, for all the calls that are mixed into it."""

from docker.models.containers import Container

from services.executor.errors import SessionGoneError
from services.executor.files import WorkspaceFiles
from services.executor.session import Session
from services.executor.storage import SessionStorage
from services.executor.uploads import Uploads


class SessionOwner:
    """A session and its folders, once they are there."""

    session_id: str
    container: Container | None
    _session: Session | None = None
    _storage: SessionStorage | None = None
    _files: WorkspaceFiles | None = None
    _uploads: Uploads | None = None

    @staticmethod
    def _require[T](thing: T | None) -> T:
        if thing is None:
            msg = "The session was not started."
            raise SessionGoneError(msg)
        return thing

    def _open(self) -> Session:
        session = self._require(self._session)
        session.touch()
        return session
