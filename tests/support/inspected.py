"""`uvicorn --factory tests.support.inspected:stubs`: an application that tells what it holds.

`GET /inspect` answers what is left in the process: memory, tasks, places among the users'
connections, bytes under way, database connections in use, streams opened and not closed.
"""

import asyncio
import gc
import os
from collections import Counter
from datetime import timedelta
from typing import Any

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from app import bodies, graphql_ws, protocols, writing
from app.connections import Connections
from app.factory import create_app
from app.in_flight import InFlight
from app.settings import Settings
from db.engine import Database
from services.executor import messages
from tests.support.stub_services import Stubs, execution, sandbox

PATH = "/inspect"
BLOCK = "x" * 65_536
FLOOD_CHARACTERS = "FLOOD_CHARACTERS"
"""Of output that the code of every execution prints, before it goes on without end."""
RECORD_CHARACTERS = "RECORD_CHARACTERS"
"""Of output in the one record."""
PATIENCE_SECONDS = "PATIENCE_SECONDS"
"""Instead of all that slow peers are given."""


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
        # What the product keeps out of collections is not among the objects either.
        gc.unfreeze()
        # By what they are: the application hands none of them out, and has no reason to.
        held = gc.get_objects()
        counted = [each for each in held if isinstance(each, Connections)]
        under_way = [each for each in held if isinstance(each, InFlight)]
        pools = [each for each in held if isinstance(each, Database)]
        found = {
            "rss": _resident(),
            "tasks": Counter(_name(task) for task in asyncio.all_tasks()),
            "places": sum(sum(each._open.values()) for each in counted),
            "under_way": sum(sum(each._held.values()) for each in under_way),
            "checked_out": sum(_checked_out(each) for each in pools),
        }
        if self._stubs is not None:
            executions = self._stubs.executions
            found["opened"] = executions.opened
            found["streams"] = executions.opened - executions.closed
            found["execution"] = str(executions.record.id)
        return found


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
    if patience := os.environ.get(PATIENCE_SECONDS):
        _hurry(float(patience))
    behind = Stubs()
    behind.sandboxes.known = [sandbox() for _ in range(100)]
    behind.executions.events = [messages.Started(1, 1.0), *_flood()]
    behind.executions.endless = True
    behind.executions.record = execution(stdout="y" * int(os.environ.get(RECORD_CHARACTERS, "0")))
    return Inspected(create_app(Settings(_env_file=None), behind.open), behind)


def product() -> ASGIApp:
    """Serve the product as it is."""
    return Inspected(create_app())


def _flood() -> list[messages.Output]:
    blocks = int(os.environ.get(FLOOD_CHARACTERS, "0")) // len(BLOCK)
    return [
        messages.Output(seq, 1.0, messages.OutputStream.STDOUT, BLOCK)
        for seq in range(2, 2 + blocks)
    ]


def _hurry(seconds: float) -> None:
    protocols.HEAD_SECONDS = protocols.UNTAKEN_SECONDS = seconds
    writing.TAKEN_SECONDS = bodies.SILENT_SECONDS = seconds
    graphql_ws.INIT_WAIT = timedelta(seconds=seconds)
