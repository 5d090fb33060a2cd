"""Entry of the program inside the sandbox: `python3 -I -B .../interpreter/boot.py`.

Imports everything it needs while `sys.path` holds nothing of the user's, so that a
`json.py` in the workspace breaks nothing, then hands over to the supervisor.
"""

import sys

PROGRAM = "/opt/interpreter/program"
LIBRARY = "/opt/interpreter/lib"


def main() -> None:
    """Import the program in isolation, then serve until the stream ends."""
    sys.path[:0] = [PROGRAM, LIBRARY]
    # By absolute name: this file is run by path, outside of its package.
    from interpreter import interpreter, supervisor  # type: ignore[import-not-found]

    run = interpreter.prepare()
    sys.path.remove(PROGRAM)
    sys.path.remove(LIBRARY)
    supervisor.Supervisor(run).serve()


if __name__ == "__main__":
    main()
