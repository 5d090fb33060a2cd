"""The disk limit on a node whose filesystem does not hold it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor import disk
from services.executor.disk import DiskUnavailableError
from services.executor.disk_watch import watch_disk
from services.executor.messages import ExecutionStatus, SessionLimits
from services.executor.storage import SessionStorage
from services.executor.verdicts import Verdict

LOOK_SECONDS = 0.01
LIMIT = 4 * 1024 * 1024


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStorage]:
    """A session's folders where no image can be mounted, fuller than is allowed."""

    def unavailable(*_: object) -> None:
        raise DiskUnavailableError("no loop devices here")

    monkeypatch.setattr(disk, "mount_image", unavailable)
    monkeypatch.setattr("services.executor.storage._MEASURED_FOR_SECONDS", 0.0)
    made = SessionStorage(tmp_path, "i-1", SessionLimits(disk_bytes=LIMIT, disk_files=64))
    made.prepare()
    (made.workspace / "big").write_bytes(b"x" * 2 * LIMIT)
    yield made
    made.destroy()


async def test_an_outage_does_not_end_the_watch(storage: SessionStorage) -> None:
    """Where ending the code fails once, the limit is looked at again, and held."""
    ended: asyncio.Queue[Verdict] = asyncio.Queue()
    outages = 3

    async def end_all(verdict: Verdict) -> None:
        nonlocal outages
        outages -= 1
        if outages >= 0:
            raise ConnectionError("Docker is away")
        ended.put_nowait(verdict)

    watching = asyncio.create_task(watch_disk(storage, end_all, LOOK_SECONDS))
    verdict = await ended.get()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert not storage.limited
    assert verdict.status is ExecutionStatus.LOST
    assert verdict.error is not None
    assert "delete some" in verdict.error.value
