"""Real PostgreSQL servers for the tests: our embedded one, and Debian's 15 as Supabase sets it up.

Debian's is installed where it is missing. Each server has a folder, a socket and processes
of its own, and ends with its context.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

import asyncpg

from db import embedded, migrate
from db.embedded.places import ServerUser
from tests.support.lanes import installing

DEBIAN_BINARIES = Path("/usr/lib/postgresql/15/bin")
ADMIN_PATH = "/usr/sbin:/usr/bin"

# As in Supabase's own initial scripts, with `app` for its `postgres`, which is no superuser.
SUPABASE_ROLES = """
CREATE ROLE anon NOLOGIN NOINHERIT;
CREATE ROLE authenticated NOLOGIN NOINHERIT;
CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT anon, authenticated, service_role TO authenticator;
CREATE ROLE supabase_auth_admin NOLOGIN NOINHERIT CREATEROLE;
CREATE ROLE app LOGIN CREATEDB CREATEROLE;
GRANT anon, authenticated, service_role TO app;
"""
SUPABASE_DATABASE = """
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, app;
CREATE TABLE auth.users (id uuid PRIMARY KEY);
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;
ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server whose superuser we are."""

    sockets: Path
    app: str
    """The role that the product connects as; it owns its database and is no superuser."""
    prepare: str
    """What is there in a new database before the product comes."""
    restart: Callable[[], None]
    halt: Callable[[], None]

    def url(self, user: str, database: str) -> str:
        """Return the address of a database, as one of the roles."""
        return f"postgresql://{user}@/{database}?host={self.sockets}"

    @asynccontextmanager
    async def database(self, *, migrated: bool = True) -> AsyncIterator["TestDatabase"]:
        """Make a database of the product's, and drop it afterwards."""
        name = f"test_{uuid4().hex}"
        await self.run("postgres", f"CREATE DATABASE {name} OWNER {self.app}")
        try:
            if self.prepare:
                await self.run(name, self.prepare)
            database = TestDatabase(self, name)
            if migrated:
                await migrate.upgrade(database.url)
            yield database
        finally:
            await self.run("postgres", f"DROP DATABASE {name} WITH (FORCE)")

    async def run(self, database: str, statements: str) -> None:
        """Run statements as the superuser."""
        connection = await asyncpg.connect(self.url("postgres", database))
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """One database of a server."""

    __test__ = False

    server: PostgresServer
    name: str

    @property
    def url(self) -> str:
        """The address that the product is given."""
        return self.server.url(self.server.app, self.name)

    @property
    def superuser_url(self) -> str:
        """The address for looking behind every policy."""
        return self.server.url("postgres", self.name)


@contextmanager
def embedded_server() -> Iterator[PostgresServer]:
    """Start the product's own server on a data folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sba-test-"))
    folder.chmod(0o755)
    try:
        url = embedded.start(folder)

        def restart() -> None:
            embedded.stop(folder)
            embedded.start(folder)

        yield PostgresServer(
            sockets=Path(url.partition("host=")[2]),
            app="sandbox_api",
            prepare="",
            restart=restart,
            halt=lambda: embedded.stop(folder),
        )
    finally:
        embedded.stop(folder)
        instance = (folder / "instance").read_text()
        shutil.rmtree(folder)
        shutil.rmtree(Path("/tmp") / f"sba-{instance}", ignore_errors=True)  # noqa: S108 # its place


@contextmanager
def supabase_server() -> Iterator[PostgresServer]:
    """Start Debian's PostgreSQL 15 with Supabase's roles in it."""
    if not (DEBIAN_BINARIES / "postgres").exists():
        install_debian("postgresql-15")
    user = _unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="sba-pg15-"))
    if user.is_other:
        os.chown(folder, user.uid, user.gid)
    data = folder / "data"
    _run(user, "initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8")

    def start() -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        _run(
            user, "pg_ctl", "start", "-w", "-s", "-D", str(data), "-l", f"{data}/log", "-o", options
        )

    def halt() -> None:
        if (data / "postmaster.pid").exists():
            _run(user, "pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", str(data))

    def restart() -> None:
        halt()
        start()

    try:
        start()
        _run(user, "psql", "-h", str(folder), "-U", "postgres", "-qc", SUPABASE_ROLES)
        yield PostgresServer(
            sockets=folder, app="app", prepare=SUPABASE_DATABASE, restart=restart, halt=halt
        )
    finally:
        halt()
        shutil.rmtree(folder)


SERVERS = {"embedded": embedded_server, "supabase": supabase_server}
"""Every claim about the database holds on both."""
type Servers = Callable[[str], PostgresServer]


@contextmanager
def shared_servers() -> Iterator[Servers]:
    """Start a server when it is first asked for; all of them end with the context."""
    with ExitStack() as started:
        yield cache(lambda name: started.enter_context(SERVERS[name]()))


def install_debian(package: str) -> None:
    """Install one of Debian's packages. Raises `CalledProcessError`."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    with installing():
        for arguments in (
            ["update", "--quiet"],
            ["install", "--yes", "--quiet", "--no-install-recommends", package],
        ):
            subprocess.run([*sudo, *environment, "apt-get", *arguments], check=True)


def _unprivileged_user() -> ServerUser:
    """Return whom Postgres may run as: ourselves, or Debian's user where we are root."""
    name = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    entry = pwd.getpwnam(name)
    return ServerUser(name, entry.pw_uid, entry.pw_gid)


def _run(user: ServerUser, program: str, *arguments: str) -> None:
    done = user.run([str(DEBIAN_BINARIES / program), *arguments])
    if done.returncode != 0:
        raise RuntimeError(f"{program}: {done.stdout}")


@contextmanager
def transaction_pooler(sockets: Path, app: str, database: str) -> Iterator[str]:
    """Put PgBouncer before a server, two connections for all clients; give its address."""
    if shutil.which("pgbouncer", path=ADMIN_PATH) is None:
        install_debian("pgbouncer")
    user = _unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="sba-pooler-"))
    (folder / "users").write_text(f'"{app}" ""\n')
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{database} = host={sockets} user={app}\n"
        f"[pgbouncer]\nunix_socket_dir = {folder}\nlisten_port = 6543\nauth_type = trust\n"
        f"auth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 2\n"
    )
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.uid, user.gid)
    pooler = subprocess.Popen(
        [shutil.which("pgbouncer", path=ADMIN_PATH) or "pgbouncer", "-q", str(configuration)],
        user=user.uid if user.is_other else None,
        group=user.gid if user.is_other else None,
        extra_groups=[] if user.is_other else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (folder / ".s.PGSQL.6543").exists():
            if pooler.poll() is not None:
                raise RuntimeError(f"pgbouncer ended with {pooler.returncode}")
            time.sleep(0.02)
        yield f"postgresql://{app}@/{database}?host={folder}&port=6543&pgbouncer=true"
    finally:
        pooler.terminate()
        pooler.wait()
        shutil.rmtree(folder)
