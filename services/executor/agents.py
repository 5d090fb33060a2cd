"""The agents of the cluster's nodes: found by name, made where they are missing."""

import asyncio
from collections.abc import Sequence
from typing import Any

from services.executor import cluster
from services.executor.cluster import ClusterSettings
from services.executor.errors import SessionGoneError
from services.executor.messages import Collected, SessionTrace
from services.executor.node import NodeAgent

CALL_SECONDS = 60.0


class Agents:
    """One agent a node, detached, without a reservation."""

    def __init__(self, settings: ClusterSettings) -> None:
        """Use the cluster that this process is connected to."""
        self._settings = settings
        self._namespace = f"sandbox-api-{settings.instance}"
        self._prefix = "node-agent-"
        self._version = cluster.source_version()
        self._handles: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def retire_old(self) -> None:
        """End agents of other versions of the code."""
        names = await cluster.blocking(cluster.named_actors, self._prefix, self._namespace)
        for name in names:
            if not name.endswith(self._version):
                handle = await cluster.blocking(cluster.find_actor, name, self._namespace)
                if handle is not None:
                    await cluster.blocking(cluster.end_actor, handle)

    async def call(self, node_id: str, method: str, *arguments: object) -> Any:  # noqa: ANN401
        """Call a method on a node's agent, making the agent where it is not (any more)."""
        handle = self._handles.get(node_id) or await self._find(node_id)
        try:
            reference = getattr(handle, method).remote(*arguments)
            return await cluster.answer(reference, CALL_SECONDS)
        except SessionGoneError:
            self._handles.pop(node_id, None)
            handle = await self._find(node_id)
            reference = getattr(handle, method).remote(*arguments)
            return await cluster.answer(reference, CALL_SECONDS)

    async def _find(self, node_id: str) -> Any:  # noqa: ANN401
        async with self._lock:
            name = f"{self._prefix}{node_id[:16]}-{self._version}"
            options = {
                "name": name,
                "namespace": self._namespace,
                "get_if_exists": True,
                "num_cpus": 0,
                "max_concurrency": 32,
            }
            settings = self._settings
            handle = await cluster.blocking(
                cluster.create_actor,
                NodeAgent,
                options,
                node_id,
                settings.instance,
                node_id,
                settings.node_data_dir,
            )
            self._handles[node_id] = handle
            return handle

    async def remove_container(self, session_id: str, node_id: str | None) -> None:
        """Remove a session's container, on its node or on every node."""
        for node in await self._nodes(node_id):
            await self.call(node, "remove_container", session_id)

    async def remove(self, session_id: str, node_id: str | None) -> None:
        """Remove all there is of a session, on its node or on every node."""
        for node in await self._nodes(node_id):
            await self.call(node, "remove", session_id)

    async def last_words(self, session_id: str, node_id: str | None) -> Collected | None:
        """Return what a session left to say."""
        for node in await self._nodes(node_id):
            words: Collected | None = await self.call(node, "last_words", session_id)
            if words is not None:
                return words
        return None

    async def inventory(self) -> Sequence[SessionTrace]:
        """List what containers and folders there are, on every node."""
        found: list[SessionTrace] = []
        for node in await self._nodes(None):
            found += await self.call(node, "inventory")
        return found

    async def holder(self, session_id: str, node_id: str) -> str | None:
        """Return the node that has a session's folders, None where none has.

        Ray names a node anew each time it joins: one that was restarted has its files still.
        """
        if node_id in await self._nodes(None):
            return node_id
        for trace in await self.inventory():
            if trace.session_id == session_id and trace.folders:
                return trace.node_id
        return None

    async def problems(self) -> Sequence[str]:
        """Say what is missing to run sandboxes, on every node."""
        problems: list[str] = []
        for node in await self._nodes(None):
            problems += await self.call(
                node, "problems", self._settings.image, self._settings.runtime
            )
        return problems

    async def _nodes(self, node_id: str | None) -> Sequence[str]:
        """Return the node named, if it is alive, or all that are: one may be it by a new name."""
        alive = await cluster.blocking(cluster.alive_nodes)
        return [node_id] if node_id is not None and node_id in alive else alive
