"""What unit tests share: a session's disk, and the files on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor.files import WorkspaceFiles
from services.executor.storage import SessionStorage
from tests.support.disks import mounted


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SessionStorage]:
    """A prepared session whose disk is really mounted."""
    with mounted(tmp_path) as storage:
        yield storage


@pytest.fixture
def files(storage: SessionStorage) -> WorkspaceFiles:
    """The files of its workspace."""
    return WorkspaceFiles(storage)


@pytest.fixture
def workspace(storage: SessionStorage) -> Path:
    """The workspace, as code in the sandbox sees it."""
    return storage.workspace
