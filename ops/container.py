"""Entry point of the API's image: the server, on a cluster that others run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ops import api
from ops.layout import REPOSITORY
from ops.say import CannotError, warn
from ops.settings import Settings


def main() -> None:
    """Become the server. Raises `CannotError` where no cluster is named."""
    settings = Settings.read()
    if settings.local_ray:
        raise CannotError(
            "RAY_ADDRESS is empty, and a container has no Ray of its own.",
            "set RAY_ADDRESS to the cluster's address.",
        )
    os.chdir(REPOSITORY)
    os.execv(sys.executable, api.command(settings, Path(sys.executable)))  # noqa: S606


if __name__ == "__main__":
    try:
        main()
    except (CannotError, ValueError) as error:
        warn(str(error))
        sys.exit(1)
