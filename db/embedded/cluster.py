"""One cluster of PostgreSQL on this machine: made, started and stopped by its own programs."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from db.embedded.places import ServerUser
from db.errors import EmbeddedServerError

APP = "sandbox_api"
"""The role that owns the database of the same name, and may not pass by its policies."""

START_SECONDS = 60
STOP_SECONDS = 30

# Whoever gets to the socket is let in: its folder keeps all others out.
HBA = "local all all trust\n"

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "io_method": "sync",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "jit": "off",
    "timezone": "'UTC'",
    "idle_in_transaction_session_timeout": "'60s'",
    # A file a weekday, overwritten after a week; with no statement or value in it.
    "logging_collector": "on",
    "log_filename": "'postgresql-%a.log'",
    "log_rotation_age": "'1d'",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}

# `initdb` makes the superuser alone. No inheriting: the owner has a tenant's or the
# service's rights only after it has taken on that role.
BOOTSTRAP = f"""\
CREATE ROLE {APP} LOGIN NOINHERIT CREATEROLE;
CREATE DATABASE {APP} OWNER {APP};
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Programs, data, socket and user of one server."""

    binaries: Path
    data: Path
    sockets: Path
    user: ServerUser

    def create(self) -> None:
        """Make the data in its (empty) folder, with the role and the database in it."""
        self._run(
            "initdb",
            f"--pgdata={self.data}",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--auth=trust",
            "--no-instructions",
        )
        self._configure()
        told = self._run("postgres", "--single", "-D", str(self.data), "postgres", feed=BOOTSTRAP)
        if "ERROR:" in told or "FATAL:" in told:
            raise EmbeddedServerError(f"The database can't be made: {told[-2000:]}")

    def start(self) -> None:
        """Start the server as a process of its own, unless it runs; wait until it answers."""
        if self.postmaster() is None:
            self._configure()
            self._forget_stale_pid()
            log = self.data / "start.log"
            options = ["--pgdata", str(self.data), "--log", str(log), "--silent", "--wait"]
            try:
                self._run("pg_ctl", "start", *options, "--timeout", str(START_SECONDS))
            except EmbeddedServerError as fault:
                tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                raise EmbeddedServerError(f"{fault}\n{tail}".strip()) from fault
        self._wait_ready()

    def stop(self) -> None:
        """End the server and its connections; one that does not run is no error."""
        if self.postmaster() is None:
            return
        options = ["--pgdata", str(self.data), "--silent", "--wait", "--timeout", str(STOP_SECONDS)]
        try:
            self._run("pg_ctl", "stop", "--mode=fast", *options)
        except EmbeddedServerError:
            # Someone's transaction does not let go: what is committed stays all the same.
            self._run("pg_ctl", "stop", "--mode=immediate", *options)

    def postmaster(self) -> int | None:
        """Return the server's process id, None where it does not run."""
        pid = self._noted_pid()
        return pid if pid is not None and pid in self._processes() else None

    def has_socket(self) -> bool:
        """Whether its socket is there: something that tidies temporary files may have come."""
        return (self.sockets / ".s.PGSQL.5432").exists()

    def url(self, user: str = APP, database: str = APP) -> str:
        """Return the address of a database of this server."""
        return f"postgresql://{user}@/{database}?host={self.sockets}"

    def _configure(self) -> None:
        settings = {**SETTINGS, "unix_socket_directories": f"'{self.sockets}'"}
        lines = (f"{name} = {value}\n" for name, value in settings.items())
        self._write("postgresql.conf", "".join(lines))
        self._write("pg_hba.conf", HBA)

    def _write(self, name: str, content: str) -> None:
        path = self.data / name
        path.write_text(content)
        if self.user.is_other:
            os.chown(path, self.user.uid, self.user.gid)
        path.chmod(0o600)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._run("pg_isready", "--quiet", f"--host={self.sockets}")
                return
            except EmbeddedServerError:
                if time.monotonic() > deadline or self.postmaster() is None:
                    raise
                time.sleep(0.1)

    def _noted_pid(self) -> int | None:
        with suppress(FileNotFoundError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return None

    def _forget_stale_pid(self) -> None:
        """Remove a noted process id that is another program's now, as after a reboot.

        Postgres would take that program for its server and refuse. While any process of the
        old server is left, the note stays: it keeps two from writing the same files.
        """
        pid = self._noted_pid()
        if pid is not None and not self._processes():
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _processes(self) -> set[int]:
        """Return the processes that work in the data folder, as all of a server's do."""
        found = set()
        for entry in Path("/proc").iterdir():
            # A process may end, or be another user's, while it is looked at.
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == self.data:
                    found.add(int(entry.name))
        return found

    def _run(self, program: str, *arguments: str, feed: str = "") -> str:
        """Run one of the cluster's programs as its user. Raises `EmbeddedServerError`."""
        done = self.user.run([str(self.binaries / program), *arguments], feed)
        if done.returncode != 0:
            raise EmbeddedServerError(
                f"PostgreSQL's {program} ended with {done.returncode}:"
                f" {done.stdout[-2000:].strip()}"
            )
        return done.stdout
