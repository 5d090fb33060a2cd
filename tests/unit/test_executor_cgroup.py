"""What a container's cgroups tell, laid out as kernels and Docker's drivers lay them."""

from pathlib import Path

import pytest

from services.executor.cgroup import Consumption, ContainerGroup

ID = "0123abcd"
V1_MEMORY = {
    "memory.usage_in_bytes": "5000\n",
    "memory.stat": "cache 1\ntotal_rss 300\ntotal_shmem 40\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
V1_CPU = {"cpuacct.usage": "1500000000\n"}
V2 = {
    "memory.current": "5000\n",
    "memory.stat": "anon 300\nfile 9\nshmem 40\n",
    "memory.events": "low 0\noom 1\noom_kill 2\n",
    "cpu.stat": "usage_usec 1500000\nuser_usec 9\n",
}
LAYOUTS = {
    "version 1": {"memory/docker/{}": V1_MEMORY, "cpuacct/docker/{}": V1_CPU},
    "version 1, CPU controllers together": {
        "memory/docker/{}": V1_MEMORY,
        "cpu,cpuacct/docker/{}": V1_CPU,
    },
    "version 1 by systemd": {
        "memory/system.slice/docker-{}.scope": V1_MEMORY,
        "cpuacct/system.slice/docker-{}.scope": V1_CPU,
    },
    "version 2": {"docker/{}": V2},
    "version 2 by systemd": {"system.slice/docker-{}.scope": V2},
}


def lay_out(root: Path, layout: dict[str, dict[str, str]]) -> None:
    """Write the files of one node."""
    for folder, files in layout.items():
        target = root / folder.format(ID)
        target.mkdir(parents=True)
        for name, text in files.items():
            (target / name).write_text(text)


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_read(name: str, tmp_path: Path) -> None:
    """Memory, CPU time and ended processes are read wherever the node keeps them."""
    lay_out(tmp_path, LAYOUTS[name])

    group = ContainerGroup(ID, tmp_path)

    assert group.consumption() == Consumption(memory_bytes=5000, cpu_seconds=1.5)
    assert group.unreclaimable() == 340
    assert group.oom_kills() == 2


def test_ended_processes_are_told_until_noted(tmp_path: Path) -> None:
    """What was ended before the group was found is not new, nor is what was noted."""
    lay_out(tmp_path, LAYOUTS["version 2"])
    group = ContainerGroup(ID, tmp_path)
    before = group.new_oom_kills()
    (tmp_path / "docker" / ID / "memory.events").write_text("oom_kill 3\n")

    assert not before
    assert group.new_oom_kills()
    assert group.new_oom_kills()
    group.note_oom_kills()
    assert not group.new_oom_kills()


def test_another_container_is_not_read(tmp_path: Path) -> None:
    """A node that shows no cgroup of the container answers None and zeros."""
    lay_out(tmp_path, LAYOUTS["version 1"])

    group = ContainerGroup("ffff", tmp_path)

    assert group.consumption() is None
    assert group.unreclaimable() == 0
    assert group.oom_kills() == 0


@pytest.mark.parametrize("missing", ["memory.current", "cpu.stat"])
def test_half_a_measurement_is_none(missing: str, tmp_path: Path) -> None:
    """Where one of the two figures is not shown, Docker is to be asked."""
    files = {name: text for name, text in V2.items() if name != missing}
    lay_out(tmp_path, {"docker/{}": files})

    assert ContainerGroup(ID, tmp_path).consumption() is None
