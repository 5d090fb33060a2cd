"""What belongs to an instance, by looking at the machine."""

from pathlib import Path

from ops.stop import mount_points

MOUNTINFO = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
90 22 7:0 / /srv/data/sandboxes/a/workspace rw - ext4 /dev/loop0 rw
91 90 0:1 / /srv/data/sandboxes/a/workspace/inner rw - tmpfs tmpfs rw
92 22 7:1 / /srv/data/with\\040blank rw - ext4 /dev/loop1 rw
93 22 7:2 / /srv/data-other/x rw - ext4 /dev/loop2 rw
94 22 7:3 / /srv/data rw - ext4 /dev/loop3 rw
"""


def test_mounts_below_a_folder_are_found_innermost_first() -> None:
    """Only what is below counts: not the folder itself, not a neighbour with a like name."""
    assert mount_points(Path("/srv/data"), MOUNTINFO) == [
        Path("/srv/data/with blank"),
        Path("/srv/data/sandboxes/a/workspace/inner"),
        Path("/srv/data/sandboxes/a/workspace"),
    ]
