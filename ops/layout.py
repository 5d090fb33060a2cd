"""Where things are in a DATA_DIR, and the instance's name. Nothing here starts anything."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_DATA_DIR = ".data"
PRIVATE = 0o700
INSTANCE_LENGTH = 8


@dataclass(frozen=True)
class Layout:
    """The folders and files of one instance."""

    data_dir: Path

    @classmethod
    def of(cls, data_dir: str | Path) -> Layout:
        """Layout of a folder; a relative path counts from the repository."""
        return cls((REPOSITORY / Path(data_dir).expanduser()).resolve())

    @property
    def secrets(self) -> Path:
        """Keys, one a file, readable by the owner alone."""
        return self.data_dir / "secrets"

    @property
    def ray_token(self) -> Path:
        """The token that guards the local Ray cluster."""
        return self.secrets / "ray_token"

    @property
    def jwt_secret(self) -> Path:
        """The development secret that tokens are signed with."""
        return self.secrets / "jwt_secret"

    @property
    def secret_key(self) -> Path:
        """The key of signed addresses and encrypted environment values."""
        return self.secrets / "secret_key"

    @property
    def state(self) -> Path:
        """What is running, as JSON."""
        return self.data_dir / "state"

    @property
    def logs(self) -> Path:
        """Logs of what runs apart from the API."""
        return self.data_dir / "logs"

    @property
    def postgres(self) -> Path:
        """The embedded server's own folder."""
        return self.data_dir / "postgres"

    @property
    def sandboxes(self) -> Path:
        """Workspaces and packages, a folder a session."""
        return self.data_dir / "sandboxes"

    @property
    def uv_cache(self) -> Path:
        """The package resolver's cache."""
        return self.data_dir / "uv-cache"

    @property
    def interpreter(self) -> Path:
        """Dependencies of the program inside the sandbox, a folder a lock."""
        return self.data_dir / "interpreter"

    @property
    def short(self) -> Path:
        """Folder for sockets, whose paths are limited to 107 bytes."""
        return Path("/tmp") / f"sba-{self.instance()}"  # noqa: S108 - private, see prepare()

    def instance(self) -> str:
        """Eight hex digits that tell this instance's things from others'; made once."""
        path = self.data_dir / "instance"
        if not path.exists():
            self.data_dir.mkdir(parents=True, exist_ok=True)
            write_once(path, secrets.token_hex(INSTANCE_LENGTH // 2))
        return path.read_text().strip()

    def prepare(self) -> Layout:
        """Make the folders, with the modes they need; returns itself."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        for folder in (self.secrets, self.sandboxes):
            folder.mkdir(exist_ok=True)
            folder.chmod(PRIVATE)
        for folder in (self.state, self.logs):
            folder.mkdir(exist_ok=True)
        self._prepare_short()
        return self

    def _prepare_short(self) -> None:
        """Others may enter (Postgres has a user of its own), but only the owner may write.

        Raises `PermissionError` where somebody else has made it: /tmp is everybody's.
        """
        self.short.mkdir(mode=0o711, exist_ok=True)
        found = os.lstat(self.short)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{self.short} is somebody else's; remove it and start again.")
        self.short.chmod(0o711)

    def read_state(self, name: str) -> dict[str, Any]:
        """A state file's content, empty where there is none."""
        try:
            content: dict[str, Any] = json.loads((self.state / f"{name}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return content

    def write_state(self, name: str, content: dict[str, Any]) -> None:
        """Replace a state file as a whole."""
        self.state.mkdir(parents=True, exist_ok=True)
        write_atomically(self.state / f"{name}.json", json.dumps(content, indent=2) + "\n")

    def forget_state(self, name: str) -> None:
        """Remove a state file; none is no error."""
        (self.state / f"{name}.json").unlink(missing_ok=True)


def write_once(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file that is not there yet; of two at once the first wins and neither is torn."""
    temporary = _temporary(path, content, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def write_atomically(path: Path, content: str, mode: int = 0o644) -> None:
    """Replace a file so that a reader sees the old one or the new one."""
    _temporary(path, content, mode).replace(path)


def _temporary(path: Path, content: str, mode: int) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(content)
    Path(name).chmod(mode)
    return Path(name)
