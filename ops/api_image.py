"""The API's image, built where a build itself reaches no package index."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ops import stamp
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
CACHE = Path("/var/cache/sandbox-api")


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
    context = folder / "context"
    context.mkdir()
    for file in FILES:
        shutil.copy(REPOSITORY / file, context)
    for part in CODE:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / part, context / part, ignore=ignored)
    shutil.copyfile(_packages(uv, base, folder), context / "packages.tar")
    return context


def _packages(uv: Uv, base: Base, folder: Path) -> Path:
    """The lock's packages as an archive, which is kept: the build's cache goes by its bytes.

    Made anew it would be another, for scripts name the interpreter that resolved them.
    """
    name = f"packages-{stamp.digest([LOCK, base.python, base.wheel_platform])}.tar"
    kept = CACHE / name
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        for older in CACHE.glob("packages-*.tar*"):
            older.unlink(missing_ok=True)
        resolve(uv, LOCK, folder / "packages", base.python, base.wheel_platform)
        temporary = kept.with_suffix(".tar.new")
        with tarfile.open(temporary, "w") as archive:
            archive.add(folder / "packages", arcname=".", filter=_same_each_time)
        temporary.replace(kept)
    return kept


def _same_each_time(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    return member
