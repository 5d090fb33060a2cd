"""What a container's cgroups tell, laid out as kernels and Docker's drivers lay them."""

from pathlib import Path

import pytest

from services.executor.cgroup import (
    PARENT,
    Consumption,
    ContainerGroup,
    parent,
    put_services_first,
)

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
    "version 1": {"memory/sandboxes.slice/{}": V1_MEMORY, "cpuacct/sandboxes.slice/{}": V1_CPU},
    "version 1, CPU controllers together": {
        "memory/sandboxes.slice/{}": V1_MEMORY,
        "cpu,cpuacct/sandboxes.slice/{}": V1_CPU,
    },
    "version 1 by systemd": {
        "memory/sandboxes.slice/docker-{}.scope": V1_MEMORY,
        "cpuacct/sandboxes.slice/docker-{}.scope": V1_CPU,
    },
    "version 2": {"sandboxes.slice/{}": V2},
    "version 2 by systemd": {"sandboxes.slice/docker-{}.scope": V2},
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
    (tmp_path / PARENT / ID / "memory.events").write_text("oom_kill 3\n")

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


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("cpu/sandboxes.slice/cpu.shares", "1024", "256"),
        ("cpu,cpuacct/sandboxes.slice/cpu.shares", "1024", "256"),
        ("sandboxes.slice/cpu.weight", "100", "25"),
    ],
)
def test_sandboxes_weigh_a_quarter(file: str, before: str, after: str, tmp_path: Path) -> None:
    """Wherever the node keeps the weight of all sandboxes, it is lowered, and nothing is made."""
    weight = tmp_path / file
    weight.parent.mkdir(parents=True)
    weight.write_text(before)

    put_services_first(tmp_path)

    assert weight.read_text() == after
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [weight]


def test_a_weight_that_cannot_be_lowered_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that does not let it be changed runs sandboxes all the same."""
    weight = tmp_path / "cpu" / PARENT / "cpu.shares"
    weight.parent.mkdir(parents=True)
    weight.write_text("1024")

    def refuse(_path: Path, _text: str) -> int:
        raise PermissionError("Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    put_services_first(tmp_path)

    assert weight.read_text() == "1024"
    assert "Read-only file system" in caplog.text


@pytest.mark.parametrize(
    ("driver", "told"), [("cgroupfs", "/sandboxes.slice"), ("systemd", "sandboxes.slice")]
)
def test_each_driver_has_its_way_to_name_the_parent(driver: str, told: str) -> None:
    """Cgroupfs takes a path, systemd the name of a slice."""
    assert parent(driver) == told
