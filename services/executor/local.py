"""The short way to sessions whose actors are on this machine: their sockets instead of Ray."""

import asyncio
import time
from pathlib import Path
from typing import Any

from services.executor.errors import ClusterUnavailableError
from services.executor.messages import PROTOCOL_VERSION
from services.executor.rpc import RpcClosedError, RpcConnection, connect
from services.executor.storage import session_folder

SOCKET = f"calls-{PROTOCOL_VERSION}.sock"
"""In the session's folder; an API that speaks another version does not find it."""
METHODS = frozenset({"run", "install", "read", "leave", "record", "wait_ended", "collect", "state"})
"""Those that are called often, and may be called twice: a call cut short is made again by Ray."""
ABSENT_SECONDS = 5.0
"""How long a session that has no socket here is not asked for one again."""
MOST_ABSENT = 10_000


class LocalCalls:
    """One connection a session, made when it is first needed."""

    def __init__(self, node_data_dir: Path) -> None:
        """Look for sessions below this folder; it may well be another machine's."""
        self._root = node_data_dir
        self._connections: dict[str, RpcConnection] = {}
        self._absent: dict[str, float] = {}
        self._connecting = asyncio.Lock()

    async def call(self, session_id: str, seconds: float, method: str, *arguments: object) -> Any:  # noqa: ANN401 # the method's own
        """Return what the session answers, or raise what it raises.

        Raises `ClusterUnavailableError` where it does not answer in time, and `RpcClosedError`
        where there is no such way.
        """
        connection = self._connections.get(session_id)
        if connection is None or connection.closed:
            connection = await self._connect(session_id)
        try:
            return await connection.call(method, *arguments, seconds=seconds)
        except TimeoutError as error:
            msg = "The cluster did not answer: the session did not answer in time."
            raise ClusterUnavailableError(msg) from error

    def is_open(self, session_id: str) -> bool:
        """Whether there is a connection to the session now."""
        connection = self._connections.get(session_id)
        return connection is not None and not connection.closed

    async def _connect(self, session_id: str) -> RpcConnection:
        if time.monotonic() < self._absent.get(session_id, 0.0):
            raise RpcClosedError
        async with self._connecting:
            known = self._connections.get(session_id)
            if known is not None and not known.closed:
                return known
            try:
                made = await connect(session_folder(self._root, session_id), SOCKET)
            except (OSError, ValueError) as error:
                if len(self._absent) >= MOST_ABSENT:
                    self._absent.clear()
                self._absent[session_id] = time.monotonic() + ABSENT_SECONDS
                raise RpcClosedError from error
            self._absent.pop(session_id, None)
            self._connections[session_id] = made
            return made

    def expect(self, session_id: str) -> None:
        """Take note that the session has just been started: it may well have a socket here."""
        self.leave(session_id)
        self._absent.pop(session_id, None)

    def leave(self, session_id: str) -> None:
        """Close the connection to a session, where there is one."""
        connection = self._connections.pop(session_id, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close all connections; idempotent."""
        for session_id in list(self._connections):
            self.leave(session_id)
