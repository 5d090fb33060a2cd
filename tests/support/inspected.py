"""`uvicorn --factory tests.support.inspected:stubs`: an application that tells what it holds.

`GET /inspect` answers what is left in the process: memory, tasks, places among a user's
connections, database connections in use, streams that were opened and not closed.
"""

import asyncio
import gc
import os
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from app.backend import Backend
from app.connections import Connections
from app.factory import create_app
from app.lifespan import open_backend
from app.settings import Settings
from db.engine import Database
from services.executor import messages
from tests.support.stub_services import Stubs, execution

PATH = "/inspect"
BLOCK = "x" * 65_536
FLOOD_CHARACTERS = "FLOOD_CHARACTERS"
"""Of output that the code of every execution prints, before it goes on without end."""
RECORD_CHARACTERS = "RECORD_CHARACTERS"
"""Of output in every record."""


class Inspected:
    """Wraps an application; what is asked about it is not part of it."""

    def __init__(self, app: ASGIApp, stubs: Stubs | None = None) -> None:
        self._app = app
        self._stubs = stubs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at the one address, pass on all else."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": orjson.dumps(self._found())})

    def _found(self) -> dict[str, Any]:
        gc.collect()
        # By what they are: the application hands neither out, and has no reason to.
        held = gc.get_objects()
        counted = [each for each in held if isinstance(each, Connections)]
        pools = [each for each in held if isinstance(each, Database)]
        executions = None if self._stubs is None else self._stubs.executions
        return {
            "rss": _resident(),
            "tasks": Counter(_name(task) for task in asyncio.all_tasks()),
            "places": sum(sum(each._open.values()) for each in counted),
            "checked_out": sum(_checked_out(each) for each in pools),
            "streams": 0 if executions is None else executions.opened - executions.closed,
            "record": "" if executions is None else str(executions.record.id),
            "opened": 0 if executions is None else executions.opened,
        }


def _checked_out(database: Database) -> int:
    """Count connections in use; those that are kept for single calls lie idle."""
    pool: Any = database._engine.pool
    return int(pool.checkedout()) - len(database._kept)


def _name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", str(coroutine))


def _resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - one line of the kernel's
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def stubs() -> ASGIApp:
    """Serve services that answer from memory: code that prints, and then waits without end."""
    behind = Stubs()
    flood = int(os.environ.get(FLOOD_CHARACTERS, "0"))
    behind.executions.events = [
        messages.Started(1, 1.0),
        *(
            messages.Output(seq, 1.0, messages.OutputStream.STDOUT, BLOCK)
            for seq in range(2, 2 + flood // len(BLOCK))
        ),
    ]
    behind.executions.endless = True
    behind.executions.record = execution(stdout="y" * int(os.environ.get(RECORD_CHARACTERS, "0")))
    return Inspected(create_app(Settings(_env_file=None), behind.open), behind)


def product() -> ASGIApp:
    """Serve the product as it is."""

    def opened(settings: Settings) -> AbstractAsyncContextManager[Backend]:
        return open_backend(settings)

    return Inspected(create_app(open_backend=opened))
