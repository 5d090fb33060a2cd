"""The end of a session that has work in hand."""

import asyncio
from pathlib import Path

from services.executor.messages import (
    ExecuteRequest,
    ExecutionStatus,
    SessionLimits,
    SessionSpec,
)
from services.executor.packages import SessionPackages
from services.executor.session import Session
from services.executor.storage import SessionStorage
from tests.support.scripted_container import ScriptedContainer, go_on


async def test_a_stop_while_the_container_is_made(tmp_path: Path) -> None:
    """What waits for its container, and what waits behind it, is LOST by a stop and never runs."""
    spec = SessionSpec("i-1", "i", "sandbox", "owner", "image", {}, SessionLimits(), str(tmp_path))
    container = ScriptedContainer(go_on, starting_seconds=0.2)
    packages = SessionPackages(spec, SessionStorage(tmp_path, "i-1", spec.limits))
    session = Session(spec, container, packages)
    await session.start()
    container.die()
    while session.runner.supervision.alive:  # noqa: ASYNC110 # no event
        await asyncio.sleep(0.005)
    container.starting.clear()
    for name in ("waits", "is behind"):
        await session.execute(ExecuteRequest(name, "delete_everything()", 3600.0))
    await container.starting.wait()
    records = await session.stop("it was stopped")
    await container.aclose()

    assert [record.status for record in records] == [ExecutionStatus.LOST] * 2
    assert [record.started_at for record in records] == [None, None]
    assert container.ran == []
