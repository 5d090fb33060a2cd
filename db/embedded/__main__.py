"""`python -m db.embedded start|stop --data-dir DIR`: start prints the server's URL."""

import argparse
import sys
from pathlib import Path

from db.embedded.server import start, stop
from db.errors import EmbeddedServerError


def main() -> int:
    """Start or stop, and say in one line what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m db.embedded", description=__doc__)
    parser.add_argument("command", choices=["start", "stop"])
    parser.add_argument("--data-dir", type=Path, required=True, help="where all data is")
    arguments = parser.parse_args()
    try:
        if arguments.command == "start":
            sys.stdout.write(f"{start(arguments.data_dir)}\n")
        else:
            stop(arguments.data_dir)
    except EmbeddedServerError as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
