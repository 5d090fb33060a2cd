"""What a killed engine leaves, without an engine."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from ops.engine import forget_pid, forget_socket


@pytest.mark.parametrize(
    "content",
    ["4194300", "no number", "", str(os.getpid())],
    ids=["gone", "no number", "empty", "another program's"],
)
def test_stale_pid_files_go(tmp_path: Path, content: str) -> None:
    """A pid file goes where its process is gone, is another program, or was never named."""
    path = tmp_path / "docker.pid"
    path.write_text(content)

    forget_pid(path, "dockerd")

    assert not path.exists()


def test_a_living_pid_file_stays(tmp_path: Path) -> None:
    """The file of a process that is the program stays; none at all is no fault."""
    path = tmp_path / "python.pid"
    path.write_text(str(os.getpid()))

    forget_pid(path, "python")
    forget_pid(tmp_path / "none", "python")

    assert path.exists()


def test_a_socket_goes_where_nobody_listens() -> None:
    """A socket with a listener stays, one without goes."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "s"
        listener.bind(str(path))
        listener.listen()

        forget_socket(path)
        assert path.exists()

        listener.close()
        forget_socket(path)
        assert not path.exists()
