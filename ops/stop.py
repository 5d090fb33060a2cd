"""Ending what an instance left running: its own things, by its name, and no others."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ops import api, venv
from ops.engine import Engine
from ops.layout import REPOSITORY
from ops.process import CommandError, run
from ops.say import say, warn

if TYPE_CHECKING:
    from ops.layout import Layout

INSTANCE_LABEL = "sandbox-api.instance"
MOUNTS = Path("/proc/self/mountinfo")


def stop(layout: Layout) -> None:
    """End API, Ray, sandboxes, mounts and Postgres of a DATA_DIR; what is not there is fine."""
    if not (layout.data_dir / "instance").exists():
        say(f"Nothing was ever started in {layout.data_dir}")
        return
    if api.stop(layout):
        say("The API has ended")
    # Before the sandboxes: an actor would take their end for a fault, and note it.
    _module("services.executor.head", layout)
    count = remove_containers(Engine(), layout.instance())
    if count:
        say(f"{count} sandboxes have ended")
    unmount_below(layout.data_dir)
    _module("db.embedded", layout)
    shutil.rmtree(layout.short, ignore_errors=True)
    say(f"Nothing of {layout.data_dir} runs any more")


def remove_containers(engine: Engine, instance: str) -> int:
    """Remove the containers that carry the instance's label; returns how many there were."""
    if not engine.answers():
        return 0
    label = f"label={INSTANCE_LABEL}={instance}"
    found = engine.docker("ps", "--all", "--quiet", "--filter", label).split()
    if found:
        engine.docker("rm", "--force", "--volumes", *found, timeout=120.0)
    return len(found)


def unmount_below(folder: Path) -> None:
    """Unmount all below a folder, the innermost first."""
    for point in mount_points(folder, MOUNTS.read_text()):
        try:
            run(["umount", str(point)])
        except CommandError:
            # Something holds it still; it goes when that ends.
            run(["umount", "--lazy", str(point)])


def mount_points(folder: Path, mountinfo: str) -> list[Path]:
    """Mount points below a folder, in the order in which they can be unmounted."""
    points = [Path(_plain(line.split()[4])) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if folder in point.parents]


def _plain(escaped: str) -> str:
    """Undo the kernel's octal escapes of blanks and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), escaped)


def _module(name: str, layout: Layout) -> None:
    if not venv.PYTHON.exists():
        return
    try:
        run([str(venv.PYTHON), "-m", name, "stop", f"--data-dir={layout.data_dir}"], cwd=REPOSITORY)
    except CommandError as error:
        warn(error.reason)
