"""The web pages, where there are some and Node can build them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops import stamp
from ops.layout import REPOSITORY
from ops.process import CommandError, run, tool
from ops.say import step, warn

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = REPOSITORY / "web"
RESULT = "dist"
NOT_INPUTS = (RESULT, "node_modules")


def ensure(folder: Path = FOLDER) -> None:
    """Build `web/dist` where its inputs changed; without Node, say so and go on."""
    if not (folder / "package.json").exists():
        return
    npm = tool("npm")
    if npm is None:
        warn("No Node here, so no web pages. To have them: apt-get install nodejs npm")
        return
    mark, wanted = folder / RESULT / ".made-from", stamp.digest(_inputs(folder))
    if stamp.is_current(mark, wanted):
        return
    with step("Building the web pages"):
        try:
            run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder)
            run([npm, "run", "build"], cwd=folder)
        except CommandError as error:
            warn(f"No web pages. {error.reason} To try again: cd web && npm ci && npm run build")
            return
    mark.write_text(wanted)


def _inputs(folder: Path) -> list[str | Path]:
    inputs: list[str | Path] = []
    for path in sorted(folder.iterdir()):
        if path.name not in NOT_INPUTS:
            inputs += [path.name, path]
    return inputs
