"""Write the migrations out as SQL, for those who run theirs with the Supabase CLI.

`python -m db.export` writes `supabase/migrations/`; with `--check` it only says whether what
is there is what would be written. The statements note their revision, so that a start of
the product finds nothing left to do.
"""

import argparse
import io
import sys
from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from db.errors import MigrationError
from db.migrate import configuration

FOLDER = Path(__file__).parent.parent / "supabase" / "migrations"
HEADER = "-- Written by `python -m db.export`: change db/migrations and write it again.\n\n"


def written() -> Mapping[str, str]:
    """Return the files' contents by name, as the Supabase CLI names and orders them."""
    revisions = ScriptDirectory.from_config(configuration()).walk_revisions()
    files = {}
    for revision in reversed(list(revisions)):
        name = Path(revision.path).name.removesuffix(".py")
        before = revision.down_revision
        if not isinstance(before, str | None):
            raise MigrationError(f"{name} joins branches: the Supabase CLI knows one line only.")
        files[f"{name}.sql"] = HEADER + _statements(before, revision.revision)
    return files


def _statements(before: str | None, revision: str) -> str:
    output = io.StringIO()
    config = configuration()
    config.output_buffer = output
    command.upgrade(config, f"{before or 'base'}:{revision}", sql=True)
    lines = (line.rstrip() for line in output.getvalue().strip().splitlines())
    return "\n".join(lines) + "\n"


def differences() -> list[str]:
    """Return the names of files that are missing, left over, or not what would be written."""
    wanted = written()
    found = {path.name: path.read_text() for path in FOLDER.glob("*.sql")}
    return sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )


def write() -> None:
    """Make the folder hold exactly what is to be there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = written()
    for path in FOLDER.glob("*.sql"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content)


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(prog="python -m db.export", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    if not parser.parse_args().check:
        write()
        return 0
    stale = differences()
    if stale:
        sys.stderr.write(f"Not up to date, run `python -m db.export`: {', '.join(stale)}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
