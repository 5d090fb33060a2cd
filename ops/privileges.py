"""Root, where the work needs it: the engine, gVisor, loop mounts and uids of others."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ops.process import tool
from ops.say import CannotError, say

if TYPE_CHECKING:
    from collections.abc import Sequence


def require_root(arguments: Sequence[str]) -> None:
    """Return as root; else run the same verb again by sudo, in place of this process."""
    if os.geteuid() == 0:
        return
    sudo = tool("sudo")
    if sudo is None:
        raise CannotError(
            "This needs root (Docker, gVisor, mounts), and there is no sudo.",
            f'su -c "make {arguments[0]}"',
        )
    say("This needs root (Docker, gVisor, mounts): going on by sudo")
    # sudo has a PATH of its own, on which pyenv's and the user's tools are not.
    path = f"PATH={os.environ.get('PATH', os.defpath)}"
    os.execv(sudo, [sudo, "-E", "env", path, sys.executable, "-m", "ops", *arguments])  # noqa: S606
