"""What a machine that sandboxes run on needs besides the image, and where it is."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops import stamp
from ops.image import SandboxImage, resolve
from ops.layout import REPOSITORY, Layout
from ops.process import CommandError
from ops.say import CannotError, step

if TYPE_CHECKING:
    from ops.uv import Uv

LOCK = REPOSITORY / "requirements-interpreter.lock"
# The folder serves any image from this version on.
OLDEST_PYTHON = "3.11"
LIBRARY = "/opt/interpreter/lib"


@dataclass(frozen=True)
class Node:
    """The in-sandbox program's dependencies on this machine, and the note of them."""

    layout: Layout
    image: SandboxImage

    def ensure(self, uv: Uv) -> Path:
        """Have the folder, and `state/node.json` name it; returns the folder."""
        name = stamp.digest([LOCK, self.image.tag])
        folder = self.layout.interpreter / name
        if not folder.exists():
            with step("Preparing the interpreter's packages"):
                self._make(uv, folder)
        library = folder / "lib"
        self.layout.write_state(
            "node",
            {
                "interpreter_lib": str(library),
                "image": self.image.tag,
                "python": self.image.base.python,
            },
        )
        return library

    def _make(self, uv: Uv, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            library = temporary / "lib"
            resolve(uv, LOCK, library, OLDEST_PYTHON)
            self._require_pure(library)
            self._compile(library)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except CommandError as error:
            raise CannotError(error.reason, "make setup") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @staticmethod
    def _require_pure(library: Path) -> None:
        compiled = [str(path.relative_to(library)) for path in library.rglob("*.so")]
        if compiled:
            raise CannotError(
                f"The interpreter's packages hold compiled modules: {', '.join(compiled)}.",
                "pin pure ones in requirements-interpreter.in and run `make lock`.",
            )

    def _compile(self, library: Path) -> None:
        """Bytecode by the image's own Python: the folder is read-only where it is used."""
        self.image.engine.docker(
            "run", "--rm", "--network=none", "--user=0:0", f"--volume={library}:{LIBRARY}",
            "--entrypoint=python3", self.image.tag,
            "-m", "compileall", "-q", "-j", "0", "--invalidation-mode=unchecked-hash",
            "-x", "jedi/third_party", LIBRARY,
            timeout=300.0,
        )  # fmt: skip
