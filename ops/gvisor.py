"""gVisor as the Docker runtime `runsc`: taken from Debian, probed, registered."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ops import apt
from ops.engine import Engine
from ops.process import CommandError, all_processes, command_line, end, tool
from ops.say import CannotError, say, step

RUNTIME = "runsc"
# bookworm's build fails on directory listings and sid's panics; this suite's works.
SUITE = "trixie"
OWN_BINARY = Path("/usr/local/lib/sandbox-api/runsc")
ARGUMENTS: tuple[tuple[str, ...], ...] = ((), ("--network=none",))
# Lists a folder with many entries: what broken builds answer with EINVAL.
PROBE = "import os; assert len(os.listdir('/usr/lib')) > 3; print('gvisor works')"


@dataclass(frozen=True)
class Gvisor:
    """gVisor on one engine; `image` is any with Python, to try it with."""

    engine: Engine
    image: str

    def ensure(self) -> None:
        """Have the runtime registered and working; raises `CannotError`.

        A runtime that is registered under this name already is never changed.
        """
        if RUNTIME in self.engine.runtimes():
            self._require_working()
            return
        for binary in self._binaries():
            arguments = self._working_arguments(binary)
            if arguments is not None:
                self._register(binary, arguments)
                return
        raise CannotError(
            "No build of gVisor that was tried runs containers on this kernel.",
            "install a current `runsc` into /usr/local/bin and run the set-up again.",
        )

    def works(self, runtime: str = RUNTIME) -> str | None:
        """Run a container under the runtime; None where it worked, else what was said."""
        container = self.engine.docker(
            "create", f"--runtime={runtime}", "--network=none", self.image,
            "python3", "-I", "-c", PROBE,
        ).strip()  # fmt: skip
        try:
            self.engine.docker("start", "--attach", container)
        except CommandError as error:
            return error.reason
        finally:
            self.engine.docker("rm", "--force", container)
            # A start that failed half-way leaves gVisor's processes behind.
            end([pid for pid in all_processes() if container in command_line(pid)])
        return None

    def _require_working(self) -> None:
        problem = self.works()
        if problem is not None:
            raise CannotError(
                f"The Docker runtime `{RUNTIME}`, registered on this machine, does not work: "
                f"{problem}",
                f"correct or remove `runtimes.{RUNTIME}` in {self.engine.config}, reload the "
                "engine, and run the set-up again.",
            )

    def _binaries(self) -> list[Path]:
        """What to try, in order; ours is fetched only when the machine's own fails."""
        found = tool(RUNTIME)
        return [*([Path(found)] if found else []), OWN_BINARY]

    def _working_arguments(self, binary: Path) -> list[str] | None:
        """Arguments under which this binary runs containers, None where there are none."""
        if binary == OWN_BINARY and not binary.exists():
            fetch(binary)
        names = {f"{RUNTIME}-probe-{number}": tried for number, tried in enumerate(ARGUMENTS)}
        with step(f"Trying {binary}"):
            self.engine.configure({name: entry(binary, tried) for name, tried in names.items()})
            try:
                for name, tried in names.items():
                    if self.works(name) is None:
                        return list(tried)
            finally:
                self.engine.configure(dict.fromkeys(names))
        return None

    def _register(self, binary: Path, arguments: list[str]) -> None:
        self.engine.configure({RUNTIME: entry(binary, arguments)})
        say(f"gVisor is registered: {binary} {' '.join(arguments)}".rstrip())


def entry(binary: Path, arguments: list[str] | tuple[str, ...]) -> dict[str, object]:
    """What the engine's configuration says of a runtime."""
    return {"path": str(binary), **({"runtimeArgs": list(arguments)} if arguments else {})}


def fetch(destination: Path) -> None:
    """Put the binary of Debian's package at `destination`; nothing else is installed."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with step(f"Taking gVisor out of Debian {SUITE}'s package"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                root = apt.take_out_of(SUITE, RUNTIME, Path(folder))
            except CommandError as error:
                raise CannotError(
                    error.reason, "install a current `runsc` into /usr/local/bin."
                ) from error
            temporary = destination.with_suffix(".new")
            shutil.copyfile(root / "usr/bin/runsc", temporary)
        temporary.chmod(0o755)
        temporary.replace(destination)
