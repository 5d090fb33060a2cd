"""The agents of the cluster's nodes: found by name, made where they are missing."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.executor import cluster
from services.executor.cluster import ClusterSettings, Free
from services.executor.errors import ClusterUnavailableError, ExecutorError, SessionGoneError
from services.executor.messages import Collected, SessionTrace
from services.executor.node import NodeAgent

logger = logging.getLogger(__name__)

CALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What nodes said, and what those did that could not."""

    found: Sequence[Any]
    failed: Sequence[ExecutorError]

    def require_all(self) -> None:
        """Raise the first failure, where there is one."""
        for error in self.failed:
            raise error


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

    async def _ask(self, node_id: str | None, method: str, *arguments: object) -> Answers:
        """Call all nodes, or the one named; one that fails keeps no other from its turn."""
        nodes = await self._nodes(node_id)
        calls = [self.call(node, method, *arguments) for node in nodes]
        found: list[Any] = []
        failed: list[ExecutorError] = []
        for node, one in zip(
            nodes, await asyncio.gather(*calls, return_exceptions=True), strict=True
        ):
            if not isinstance(one, BaseException):
                found.append(one)
                continue
            logger.warning("node %s failed at %s", node, method, exc_info=one)
            failed.append(_named(one))
        return Answers(found, failed)

    async def remove_container(self, session_id: str, node_id: str | None) -> None:
        """Remove a session's container, on its node or on every node.

        Raises what a node did that could not, after all have been asked.
        """
        (await self._ask(node_id, "remove_container", session_id)).require_all()

    async def remove(self, session_id: str, node_id: str | None) -> None:
        """Remove all there is of a session, on its node or on every node. Raises likewise."""
        (await self._ask(node_id, "remove", session_id)).require_all()

    async def last_words(self, session_id: str, node_id: str | None) -> Collected | None:
        """Return what a session left to say."""
        answers = await self._ask(node_id, "last_words", session_id)
        words: Collected | None = next((one for one in answers.found if one is not None), None)
        if words is None:
            answers.require_all()
        return words

    async def inventory(self) -> Sequence[SessionTrace]:
        """List what containers and folders there are, on every node that answers."""
        answers = await self._ask(None, "inventory")
        return [trace for traces in answers.found for trace in traces]

    async def holder(self, session_id: str, node_id: str) -> str | None:
        """Return the node that has a session's folders, None where none has.

        Ray names a node anew each time it joins: one that was restarted has its files still.
        Raises where a node that may be it does not answer.
        """
        if node_id in await self._nodes(None):
            return node_id
        answers = await self._ask(None, "inventory")
        for traces in answers.found:
            for trace in traces:
                if trace.session_id == session_id and trace.folders:
                    return str(trace.node_id)
        answers.require_all()
        return None

    async def has_room(self, num_cpus: float, memory_bytes: int, node_id: str | None) -> bool:
        """Whether a session with these reservations has a place, on its node where it has one."""
        nodes = await self._nodes(node_id)
        free: Free = await self.call(nodes[0], "free_resources") if nodes else {}
        return cluster.has_room(free, num_cpus, memory_bytes, node_id)

    async def problems(self) -> Sequence[str]:
        """Say what is missing to run sandboxes, on every node."""
        answers = await self._ask(None, "problems", self._settings.image, self._settings.runtime)
        said = [problem for problems in answers.found for problem in problems]
        return said + [error.message for error in answers.failed]

    async def _nodes(self, node_id: str | None) -> Sequence[str]:
        """Return the node named, if it is alive, or all that are: one may be it by a new name."""
        alive = await cluster.blocking(cluster.alive_nodes)
        return [node_id] if node_id is not None and node_id in alive else alive


def _named(error: BaseException) -> ExecutorError:
    """Return a node's failure as one of ours; what is none, such as a cancellation, is raised."""
    if isinstance(error, ExecutorError):
        return error
    if not isinstance(error, Exception):
        raise error
    return ClusterUnavailableError(f"A node failed, as the log of the API says: {error}")
