"""All the set-up, in order; each part looks first whether there is anything to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops import venv, web
from ops.engine import Engine
from ops.gvisor import Gvisor
from ops.image import Base, SandboxImage, ensure_base
from ops.layout import REPOSITORY
from ops.lock import MACHINE_LOCK, REPOSITORY_LOCK, exclusive
from ops.node import Node
from ops.process import CommandError, run
from ops.say import CannotError, step
from ops.uv import Uv

if TYPE_CHECKING:
    from ops.settings import Settings


def prepare_python() -> None:
    """Have the virtual environment; where it is as it should be, nothing is written."""
    if venv.is_current():
        return
    with exclusive(REPOSITORY_LOCK):
        venv.ensure()


def prepare_engine(settings: Settings) -> tuple[Engine, str]:
    """Have the engine running; returns it with the name of a base image that it has."""
    engine = Engine()
    engine.ensure()
    return engine, ensure_base(engine, settings.base_image)


def prepare_machine(settings: Settings) -> None:
    """Have Python, engine, gVisor, image and the interpreter's packages."""
    prepare_python()
    with exclusive(MACHINE_LOCK):
        engine, base = prepare_engine(settings)
        Gvisor(engine, base).ensure()
        image = SandboxImage(engine, Base.probe(engine, base))
        image.ensure(Uv().ensure())
    with exclusive(REPOSITORY_LOCK):
        Node(settings.layout.prepare(), image).ensure(Uv().ensure())


def prepare_pages(settings: Settings) -> None:
    """Have the web pages that the API serves here; without Node it says so itself."""
    if not settings.graphiql:
        return
    with exclusive(MACHINE_LOCK):
        web.ensure_node()
    with exclusive(REPOSITORY_LOCK):
        web.ensure()


def start_services(settings: Settings) -> None:
    """Have the database migrated, and Ray running, where this instance has its own."""
    settings.layout.prepare()
    data_dir = f"--data-dir={settings.layout.data_dir}"
    if settings.embedded_postgres:
        with step("Embedded Postgres"):
            _module("db.embedded", "start", data_dir, remedy="make stop, and try again")
            _module("db.migrate", data_dir, remedy="see the message")
    elif settings.database_url:
        with step("Migrating the database"):
            _module("db.migrate", f"--url={settings.database_url}", remedy="check DATABASE_URL")
    if settings.local_ray:
        with step("Local Ray"):
            _module("services.executor.head", "start", data_dir, remedy="make stop, and try again")


def _module(name: str, *arguments: str, remedy: str) -> None:
    try:
        run([str(venv.PYTHON), "-m", name, *arguments], cwd=REPOSITORY)
    except CommandError as error:
        # Not the command itself: a database's address holds its password.
        said = error.output.strip().splitlines() or ["it said nothing"]
        raise CannotError(f"`python -m {name}` failed: {said[-1]}", remedy) from None
