"""The interpreter's program and library, as folders of the node that a container mounts."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from services.executor.errors import SandboxStartError

SOURCE = Path(__file__).parent / "interpreter"


def library_folder(data_dir: Path) -> Path:
    """Return the folder of the interpreter's dependencies, as the node's set-up made it.

    Raises `SandboxStartError` where the node was not set up.
    """
    try:
        state = json.loads((data_dir / "state" / "node.json").read_text())
        return Path(str(state["interpreter_lib"]))
    except (OSError, ValueError, KeyError) as error:
        msg = f"This node is not set up for sandboxes ({error}): run `make setup` on it."
        raise SandboxStartError(msg) from error


def program_folder(data_dir: Path) -> Path:
    """Return a folder with the program, readable by the sandbox's user; blocking.

    The code comes to a node by Ray, in a folder whose modes and life are Ray's; this copy,
    named by its content, is the node's own.
    """
    sources = sorted(SOURCE.glob("*.py"))
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    target = data_dir / "interpreter" / f"program-{digest.hexdigest()[:12]}"
    if not target.exists():
        _copy(sources, target)
    return target


def _copy(sources: list[Path], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="program-", dir=target.parent))
    package = fresh / SOURCE.name
    package.mkdir()
    for source in sources:
        copied = package / source.name
        shutil.copyfile(source, copied)
        copied.chmod(0o644)
    for folder in (package, fresh):
        folder.chmod(0o755)
    try:
        fresh.rename(target)
    except OSError:
        # Another session of this node was first.
        shutil.rmtree(fresh)
