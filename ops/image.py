"""The sandbox image: its base, its packages, and the build."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ops import apt, stamp
from ops.engine import Engine
from ops.layout import REPOSITORY
from ops.process import CommandError, run, tool
from ops.say import CannotError, say, step
from ops.uv import Uv

SOURCE = REPOSITORY / "sandbox"
LOCK = SOURCE / "requirements.lock"
CONTEXT_FILES = ("Dockerfile", "sandbox_fonts.py", "sandbox_fonts.pth")
NAME = "sandbox-api/python"
LOCAL_SUITE = "trixie"
LOCAL_BASE = f"sandbox-api/base:{LOCAL_SUITE}"
PULL_ANSWER_SECONDS = 20.0
PULL_SECONDS = 600.0
BUILD_SECONDS = 900.0
PROBE = """
import json, platform, sys, sysconfig
print(json.dumps({
    "python": "%d.%d" % sys.version_info[:2],
    "site_packages": sysconfig.get_paths()["purelib"],
    "machine": platform.machine(),
    "libc": platform.libc_ver()[0],
}))
"""


@dataclass(frozen=True)
class Base:
    """A base image, and what its Python says of itself."""

    image: str
    image_id: str
    python: str
    site_packages: str
    machine: str
    libc: str

    @classmethod
    def probe(cls, engine: Engine, image: str) -> Base:
        """Ask the image's own Python; raises `CannotError` where it has none."""
        try:
            answer = engine.docker(
                "run", "--rm", "--network=none", "--entrypoint=python3", image, "-I", "-c", PROBE
            )
        except CommandError as error:
            raise CannotError(
                f"The base image {image} runs no Python: {error.reason}",
                "name one with CPython 3.11 or newer in SANDBOX_BASE_IMAGE.",
            ) from error
        return cls(image, image_id(engine, image) or "", **json.loads(answer))

    @property
    def wheel_platform(self) -> str:
        """The platform as uv names it; raises `CannotError` where no wheels are made for it."""
        if self.libc != "glibc":
            raise CannotError(
                f"The base image {self.image} has no glibc.",
                "name a Debian-like one in SANDBOX_BASE_IMAGE.",
            )
        return f"{self.machine}-manylinux_2_28"


def image_id(engine: Engine, image: str) -> str | None:
    """The image's content hash, None where the engine does not have it."""
    try:
        return engine.docker("image", "inspect", "--format", "{{.Id}}", image).strip()
    except CommandError:
        return None


def forget(engine: Engine, image: str) -> None:
    """Remove an image that has lost its name; one that a container uses stays."""
    try:
        engine.docker("image", "rm", image)
    except CommandError as error:
        say(f"An old image stays: {error.reason}")


def ensure_base(engine: Engine, wanted: str) -> str:
    """Name of a base image that is there: the wanted one, else a local one."""
    for image in (wanted, LOCAL_BASE):
        if image_id(engine, image):
            return image
    if _pull(engine, wanted):
        return wanted
    say(f"{wanted} can't be pulled; making a base image from Debian's packages instead")
    make_local_base(engine)
    return LOCAL_BASE


def _pull(engine: Engine, image: str) -> bool:
    """Try once; a registry that says nothing for 20 s is taken for none."""
    with step(f"Pulling {image}"), tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [tool("docker") or "docker", *engine.where, "pull", image],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        began = time.monotonic()
        while process.poll() is None:
            # The first layer's line is the registry's answer.
            answered = output.seek(0) == 0 and b"Pulling fs layer" in output.read()
            if time.monotonic() - began > (PULL_SECONDS if answered else PULL_ANSWER_SECONDS):
                process.kill()
                process.wait()
            time.sleep(0.1)
    return process.returncode == 0


def make_local_base(engine: Engine) -> None:
    """Debian's minimal system with Python, by debootstrap; raises `CannotError`."""
    if tool("debootstrap") is None:
        apt.install("debootstrap")
    script = SOURCE / "make-base.sh"
    mirror = apt.debian_mirror()
    command = [str(script), LOCAL_BASE, LOCAL_SUITE, *([mirror] if mirror else [])]
    with step("Making a base image with debootstrap (about a minute)"):
        try:
            run(command, env=engine.environment(), timeout=BUILD_SECONDS)
        except CommandError as error:
            raise CannotError(error.reason, " ".join(command)) from error


def resolve(uv: Uv, lock: Path, target: Path, python: str, platform: str | None = None) -> None:
    """Install a lock's wheels into a folder, for another Python and platform than ours.

    Wheels only: no build script of anybody's runs.
    """
    where = ["--python-platform", platform] if platform else []
    uv.run(
        "pip", "install", "-q", "--only-binary", ":all:", "--no-deps", "--require-hashes",
        "--link-mode", "copy", "--python-version", python, *where,
        "--target", str(target), "-r", str(lock),
    )  # fmt: skip


@dataclass(frozen=True)
class SandboxImage:
    """The image as this repository describes it, on one base."""

    engine: Engine
    base: Base

    @property
    def tag(self) -> str:
        """Its name, with the hash of all that it is made from."""
        inputs: list[Path | str] = [
            *(SOURCE / name for name in CONTEXT_FILES),
            LOCK,
            self.base.image_id,
        ]
        return f"{NAME}:{stamp.digest(inputs)}"

    def ensure(self, uv: Uv) -> str:
        """Build it where it is not there; returns its tag."""
        if image_id(self.engine, self.tag) is None:
            with step(f"Building the sandbox image on {self.base.image}"):
                self._build(uv)
        self.engine.docker("tag", self.tag, f"{NAME}:latest")
        return self.tag

    def _build(self, uv: Uv) -> None:
        with tempfile.TemporaryDirectory() as folder:
            context = Path(folder)
            for name in CONTEXT_FILES:
                shutil.copy(SOURCE / name, context)
            try:
                packages = context / "packages"
                resolve(uv, LOCK, packages, self.base.python, self.base.wheel_platform)
                strip(packages)
                self.engine.docker(
                    "build", "-q", "--network=none", "--force-rm", "-t", self.tag,
                    "--build-arg", f"BASE_IMAGE={self.base.image}",
                    "--build-arg", f"SITE_PACKAGES={self.base.site_packages}", str(context),
                    timeout=BUILD_SECONDS,
                )  # fmt: skip
            except CommandError as error:
                raise CannotError(error.reason, "make setup") from error


def strip(packages: Path) -> None:
    """Take out what only the packages' own developers run: a third of the bytes."""
    for name in ("bin", "share", ".lock"):
        path = packages / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for folder in packages.rglob("tests"):
        shutil.rmtree(folder, ignore_errors=True)
