"""The web pages, where there are some and Node can build them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops import apt, stamp
from ops.layout import REPOSITORY
from ops.process import CommandError, run, tool
from ops.say import CannotError, step, warn

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = REPOSITORY / "web"
RESULT = "dist"
OLDEST_NODE = 18
NOT_INPUTS = (RESULT, "node_modules")


def ensure_node() -> None:
    """Have npm, Debian's where there is none; where that can't be, say so and go on."""
    if tool("npm") is not None:
        return
    try:
        apt.install("nodejs", "npm")
    except CannotError as error:
        warn(f"No web pages without Node. {error}")


def ensure(folder: Path = FOLDER) -> None:
    """Build `web/dist` where its inputs changed; where that can't be, say so and go on."""
    npm = tool("npm")
    if npm is None or not (folder / "package.json").exists():
        return
    mark, wanted = folder / RESULT / ".made-from", stamp.digest(_inputs(folder))
    if stamp.is_current(mark, wanted):
        return
    major = _node_major()
    if major < OLDEST_NODE:
        warn(f"No web pages: they take Node {OLDEST_NODE} or newer, and here is {major}.")
        return
    with step("Building the web pages"):
        try:
            run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder)
            run([npm, "run", "build"], cwd=folder)
        except CommandError as error:
            warn(f"No web pages. {error.reason} To try again: cd web && npm ci && npm run build")
            return
    mark.write_text(wanted)


def _node_major() -> int:
    """The first number of `v18.20.4`; 0 where Node does not say it."""
    try:
        said = run([tool("node") or "node", "--version"])
    except CommandError:
        return 0
    number = said.strip().lstrip("v").partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _inputs(folder: Path) -> list[str | Path]:
    inputs: list[str | Path] = []
    for path in sorted(folder.iterdir()):
        if path.name not in NOT_INPUTS:
            inputs += [path.name, path]
    return inputs
