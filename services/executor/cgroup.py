"""A container's memory as its node's cgroups tell it: version 1 or 2, with systemd or without."""

from pathlib import Path

FOLDERS = (
    "/sys/fs/cgroup/memory/docker/{}",
    "/sys/fs/cgroup/memory/system.slice/docker-{}.scope",
    "/sys/fs/cgroup/docker/{}",
    "/sys/fs/cgroup/system.slice/docker-{}.scope",
)
OOM_FILES = ("memory.oom_control", "memory.events")
UNRECLAIMABLE = (("total_rss", "total_shmem"), ("anon", "shmem"))
"""Fields of `memory.stat`, of version 1 and 2; gVisor keeps the code's memory in shmem."""


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
        if self._folder is None:
            return {}
        try:
            lines = (self._folder / name).read_text().splitlines()
        except OSError:
            return {}
        pairs = (line.split() for line in lines if line.count(" ") == 1)
        return {key: int(value) for key, value in pairs if value.isdigit()}
