"""The API's image, built where a build itself reaches no package index."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ops.image import Base, forget, image_id, resolve
from ops.layout import REPOSITORY
from ops.process import CommandError
from ops.say import CannotError, step

if TYPE_CHECKING:
    from ops.engine import Engine
    from ops.uv import Uv

NAME = "sandbox-api/api:latest"
STAGE = "sandbox-api/api-packages:latest"
LOCK = REPOSITORY / "requirements.lock"
CODE = ("app", "schema", "resolvers", "services", "db", "ops")
FILES = ("Dockerfile", "main.py", LOCK.name)
BUILD_SECONDS = 900.0


def build(engine: Engine, uv: Uv, base: Base, name: str = NAME) -> str:
    """Build it on a base with the cluster's Python; returns its name. Raises `CannotError`."""
    with step(f"Building {name} on {base.image}"), tempfile.TemporaryDirectory() as folder:
        before = image_id(engine, name)
        try:
            context = _context(uv, base, Path(folder))
            # The first stage keeps a name, so that the next build finds it in the cache.
            for target in (("--target=packages", f"--tag={STAGE}"), (f"--tag={name}",)):
                engine.docker(
                    "build", "-q", "--network=none", "--force-rm", *target,
                    f"--build-arg=BASE_IMAGE={base.image}", str(context),
                    timeout=BUILD_SECONDS,
                )  # fmt: skip
        except CommandError as error:
            raise CannotError(error.reason, "python3 -m ops image") from error
    if before not in (None, image_id(engine, name)):
        forget(engine, str(before))
    return name


def _context(uv: Uv, base: Base, folder: Path) -> Path:
    context, packages = folder / "context", folder / "packages"
    context.mkdir()
    for file in FILES:
        shutil.copy(REPOSITORY / file, context)
    for part in CODE:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / part, context / part, ignore=ignored)
    resolve(uv, LOCK, packages, base.python, base.wheel_platform)
    with tarfile.open(context / "packages.tar", "w") as archive:
        archive.add(packages, arcname=".", filter=_same_each_time)
    return context


def _same_each_time(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    return member
