"""A container's memory and CPU as its node's cgroups tell them: version 1 or 2, any driver."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
PARENT = "sandboxes.slice"
"""Of all sandboxes together; systemd wants such a name."""
MEMORY_CONTROLLERS = ("memory", "")
CPU_CONTROLLERS = ("cpuacct", "cpu,cpuacct", "")
SHARE_CONTROLLERS = ("cpu", "cpu,cpuacct", "")
"""Where version 1 mounts a controller, then version 2's one tree."""
NAMES = (f"{PARENT}/{{}}", f"{PARENT}/docker-{{}}.scope")
"""By Docker's two drivers, cgroupfs and systemd."""
WEIGHTS = {"cpu.shares": 256, "cpu.weight": 25}
"""By file, of version 1 and 2: a quarter of what the kernel gives to whatever else there is."""
NANOSECONDS, MICROSECONDS = 1e9, 1e6
OOM_FILES = ("memory.oom_control", "memory.events")
MEMORY_FILES = ("memory.usage_in_bytes", "memory.current")
UNRECLAIMABLE = (("total_rss", "total_shmem"), ("anon", "shmem"))
"""Fields of `memory.stat`, of version 1 and 2; gVisor keeps the code's memory in shmem."""


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a container holds and has used."""

    memory_bytes: int
    cpu_seconds: float


class ContainerGroup:
    """The cgroups of one container; a node that shows none answers zeros and None."""

    def __init__(self, container_id: str, root: Path = ROOT) -> None:
        """Find the cgroups; nothing is kept open."""
        self._memory = _find(root, MEMORY_CONTROLLERS, container_id)
        self._cpu = _find(root, CPU_CONTROLLERS, container_id)
        self.note_oom_kills()

    def oom_kills(self) -> int:
        """Count the processes that the kernel ended for want of memory."""
        for name in OOM_FILES:
            counters = _counters(self._memory, name)
            if "oom_kill" in counters:
                return counters["oom_kill"]
        return 0

    def note_oom_kills(self) -> None:
        """Take those until now for told."""
        self._noted = self.oom_kills()

    def new_oom_kills(self) -> bool:
        """Whether there were any since they were last noted."""
        return self.oom_kills() > self._noted

    def unreclaimable(self) -> int:
        """Return the bytes that the kernel can't take back without ending something."""
        stat = _counters(self._memory, "memory.stat")
        for fields in UNRECLAIMABLE:
            if fields[0] in stat:
                return sum(stat.get(name, 0) for name in fields)
        return 0

    def consumption(self) -> Consumption | None:
        """Measure now; None where the node does not show it.

        Docker's own statistics come once a second, and so late.
        """
        memory = _number(self._memory, MEMORY_FILES)
        seconds = self._cpu_seconds()
        if memory is None or seconds is None:
            return None
        return Consumption(memory, seconds)

    def _cpu_seconds(self) -> float | None:
        nanoseconds = _number(self._cpu, ("cpuacct.usage",))
        if nanoseconds is not None:
            return nanoseconds / NANOSECONDS
        microseconds = _counters(self._cpu, "cpu.stat").get("usage_usec")
        return None if microseconds is None else microseconds / MICROSECONDS


def parent(driver: str) -> str:
    """Return the sandboxes' parent as Docker wants it told by this driver of its.

    To cgroupfs, what does not begin at the root lies below the daemon's own cgroup.
    """
    return PARENT if driver == "systemd" else f"/{PARENT}"


def put_services_first(root: Path = ROOT) -> None:
    """Have all sandboxes together yield to the machine's other processes where both want a CPU.

    Else code that prints without end keeps its own readers from being served: their processes
    waited for 40 ms and more. Sandboxes among themselves share as before. Idempotent.
    """
    files = [
        root / controller / PARENT / name for controller in SHARE_CONTROLLERS for name in WEIGHTS
    ]
    there = [file for file in files if file.is_file()]
    try:
        for file in there:
            file.write_text(str(WEIGHTS[file.name]))
    except OSError as error:
        logger.warning("sandboxes do not yield to services: %s", error)
    if not there:
        logger.warning("sandboxes do not yield to services: their cgroups are not to be seen")


def _find(root: Path, controllers: Iterable[str], container_id: str) -> Path | None:
    folders = (
        root / controller / name.format(container_id)
        for controller in controllers
        for name in NAMES
    )
    return next((folder for folder in folders if folder.is_dir()), None)


def _number(folder: Path | None, names: Iterable[str]) -> int | None:
    for name in names:
        try:
            return None if folder is None else int((folder / name).read_text())
        except (OSError, ValueError):
            continue
    return None


def _counters(folder: Path | None, name: str) -> dict[str, int]:
    try:
        lines = [] if folder is None else (folder / name).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines if line.count(" ") == 1)
    return {key: int(value) for key, value in pairs if value.isdigit()}
