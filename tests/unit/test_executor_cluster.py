"""Where the cluster has room for one more session."""

import pytest

from services.executor.cluster import has_room

MIB = 1024 * 1024
FREE = {
    "one": {"CPU": 0.5, "memory": 4096.0 * MIB},
    "two": {"CPU": 2.0, "memory": 128.0 * MIB},
    "full": {"node:10.0.0.1": 1.0},
}


@pytest.mark.parametrize(
    ("num_cpus", "memory_mib", "node_id", "room"),
    [
        (0.5, 256, None, True),
        (0.5, 256, "one", True),
        (0.5, 256, "two", False),
        (0.5, 256, "full", False),
        (0.5, 256, "gone", False),
        (2.0, 128, None, True),
        (2.0, 128, "two", True),
        # Together they have it, and neither has it alone.
        (1.0, 256, None, False),
        (2.5, 128, None, False),
        (0.0, 0, "full", True),
    ],
)
def test_room_is_on_one_node(
    num_cpus: float, memory_mib: int, node_id: str | None, *, room: bool
) -> None:
    """A session has all that it reserves on a single node: on its own, or on any."""
    assert has_room(FREE, num_cpus, memory_mib * MIB, node_id) is room
