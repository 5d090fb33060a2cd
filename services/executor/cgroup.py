"""A container's memory as its node's cgroups tell it: version 1 or 2, with systemd or without."""

from collections.abc import Sequence
from pathlib import Path

FOLDERS = (
    "/sys/fs/cgroup/memory/docker/{}",
    "/sys/fs/cgroup/memory/system.slice/docker-{}.scope",
    "/sys/fs/cgroup/docker/{}",
    "/sys/fs/cgroup/system.slice/docker-{}.scope",
)
CPU_FOLDERS = (
    "/sys/fs/cgroup/cpuacct/docker/{}",
    "/sys/fs/cgroup/cpu,cpuacct/docker/{}",
    "/sys/fs/cgroup/cpuacct/system.slice/docker-{}.scope",
    "/sys/fs/cgroup/cpu,cpuacct/system.slice/docker-{}.scope",
    *FOLDERS[2:],
)
NANOSECONDS, MICROSECONDS = 1e9, 1e6
OOM_FILES = ("memory.oom_control", "memory.events")
UNRECLAIMABLE = (("total_rss", "total_shmem"), ("anon", "shmem"))
"""Fields of `memory.stat`, of version 1 and 2; gVisor keeps the code's memory in shmem."""


def measure(container_id: str) -> tuple[int, float] | None:
    """Return a container's memory in bytes and CPU time in seconds; None where none is shown.

    Docker's own statistics come once a second, and so late.
    """
    memory = _number(FOLDERS, container_id, "memory.usage_in_bytes", "memory.current")
    nanoseconds = _number(CPU_FOLDERS, container_id, "cpuacct.usage")
    if memory is None:
        return None
    if nanoseconds is not None:
        return memory, nanoseconds / NANOSECONDS
    for folder in FOLDERS[2:]:
        used = _counters(Path(folder.format(container_id)) / "cpu.stat").get("usage_usec")
        if used is not None:
            return memory, used / MICROSECONDS
    return None


def _number(folders: Sequence[str], container_id: str, *names: str) -> int | None:
    for folder in folders:
        for name in names:
            try:
                return int((Path(folder.format(container_id)) / name).read_text())
            except (OSError, ValueError):
                continue
    return None


def _counters(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines if line.count(" ") == 1)
    return {key: int(value) for key, value in pairs if value.isdigit()}


class MemoryGroup:
    """The memory cgroup of one container; a node that shows none answers zeros."""

    def __init__(self, container_id: str) -> None:
        """Find the cgroup; nothing is kept open."""
        candidates = (Path(folder.format(container_id)) for folder in FOLDERS)
        self._folder = next((found for found in candidates if found.is_dir()), None)
        self._kills = self.oom_kills()

    def oom_kills(self) -> int:
        """Count the processes that the kernel ended for want of memory."""
        for name in OOM_FILES:
            counters = self._read(name)
            if "oom_kill" in counters:
                return counters["oom_kill"]
        return 0

    def new_oom_kills(self) -> bool:
        """Whether there were any since this was last asked."""
        before, self._kills = self._kills, self.oom_kills()
        return self._kills > before

    def unreclaimable(self) -> int:
        """Return the bytes that the kernel can't take back without ending something."""
        stat = self._read("memory.stat")
        for fields in UNRECLAIMABLE:
            if fields[0] in stat:
                return sum(stat.get(name, 0) for name in fields)
        return 0

    def _read(self, name: str) -> dict[str, int]:
        return {} if self._folder is None else _counters(self._folder / name)
