"""The class of a session's actor as Ray stores it, which every process can load.

A driver that finds an actor by name loads its class. Where that fails, as it does in a
process without this project, Ray (2.60) makes up methods that take no positional arguments,
and ray-agents' tools call ours with some. So Ray is given a class that it stores by value,
being local, and that knows the project by name alone.
"""

from functools import cache
from inspect import getmembers, iscoroutinefunction
from typing import Any

from services.executor.actor import SandboxExecutor


@cache
def actor_class() -> type:
    """Make the class: each public coroutine of `SandboxExecutor`, passed on to one."""

    class SandboxActor:
        def __init__(self, session_id: str) -> None:
            from services.executor.actor import SandboxExecutor  # noqa: PLC0415 # on the node

            self.executor = SandboxExecutor(session_id)

    for name, _ in getmembers(SandboxExecutor, iscoroutinefunction):
        if not name.startswith("_"):
            setattr(SandboxActor, name, _passed_on(name))
    return SandboxActor


def _passed_on(name: str) -> object:
    async def call(self: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 # whatever it takes
        return await getattr(self.executor, name)(*arguments, **named)

    call.__name__ = name
    return call
