"""The services' way to the sessions: makes and ends them, and looks at the cluster."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services.executor import cluster
from services.executor.agents import Agents
from services.executor.cluster import ClusterSettings
from services.executor.errors import (
    ClusterUnavailableError,
    ExecutorError,
    NoCapacityError,
    SandboxStartError,
    SessionGoneError,
)
from services.executor.facade import actor_class
from services.executor.messages import (
    PROTOCOL_VERSION,
    Collected,
    ExecutionRecord,
    SessionInfo,
    SessionSpec,
    SessionTrace,
)
from services.executor.rayagents import ACTOR_NAMESPACE, ACTOR_PREFIX
from services.executor.session_calls import CALL_SECONDS, SessionCalls, actor_name

logger = logging.getLogger(__name__)

PING_SECONDS = 2.0
SETTLE_SECONDS = 10.0
"""Within so long Ray has ended an actor and given its name free, in every process."""
SETTLE_PAUSE_SECONDS = 0.05
CONCURRENCY = 1000
STOPPED = "it was stopped"


class RayExecutor(SessionCalls):
    """`interface.Executor` over Ray. An async context manager: connected while it is open."""

    def __init__(self, settings: ClusterSettings) -> None:
        """Name the cluster; nothing is connected yet."""
        super().__init__(Path(settings.node_data_dir))
        self._settings = settings
        self._agents = Agents(settings)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect. Raises `ClusterUnavailableError`."""
        await cluster.blocking(cluster.connect, self._settings, seconds=cluster.CONNECT_SECONDS)
        self._stack.push_async_callback(asyncio.to_thread, cluster.disconnect)
        await self._agents.retire_old()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect; sessions go on."""
        await self.aclose()

    async def aclose(self) -> None:
        """Disconnect; idempotent."""
        self._local.close()
        await self._stack.aclose()

    async def start(self, spec: SessionSpec) -> SessionInfo:
        """Bring the session up; nothing of it is left running where that fails."""
        handle = await self._present(spec)
        try:
            if handle is None:
                handle = await self._create(spec)
            reference = handle.start.remote(spec)
            info: SessionInfo = await cluster.answer(reference, spec.start_timeout_seconds)
        except BaseException:
            await self._end(spec.session_id, spec.node_id)
            raise
        self._handles[spec.session_id] = handle
        self._local.expect(spec.session_id)
        return info

    async def _present(self, spec: SessionSpec) -> Any | None:  # noqa: ANN401
        """Return the session's actor where it is one of ours; replace one that is not."""
        handle = await cluster.blocking(
            cluster.find_actor, actor_name(spec.session_id), ACTOR_NAMESPACE
        )
        if handle is None:
            return None
        if hasattr(handle, "protocol_version"):
            try:
                version = await cluster.answer(handle.protocol_version.remote(), CALL_SECONDS)
            except SessionGoneError:
                return None
            if version == PROTOCOL_VERSION:
                return handle
        logger.warning("session %s had an actor that is not ours", spec.session_id)
        await self._end(spec.session_id, spec.node_id)
        return None

    async def _create(self, spec: SessionSpec) -> Any:  # noqa: ANN401
        node_id = spec.node_id
        if node_id is not None:
            node_id = await self._agents.holder(spec.session_id, node_id)
            if node_id is None:
                msg = "The node that holds this sandbox's files is not in the cluster any more."
                raise SandboxStartError(msg)
        options = {
            "name": actor_name(spec.session_id),
            "namespace": ACTOR_NAMESPACE,
            "get_if_exists": True,
            "num_cpus": spec.num_cpus,
            "memory": spec.memory_reservation_bytes,
            "max_concurrency": CONCURRENCY,
        }
        end = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            handle = await cluster.blocking(
                cluster.create_actor, actor_class(), options, node_id, spec.session_id
            )
            try:
                await self._wait_for_room(handle, spec, node_id)
                return handle
            except SessionGoneError as error:
                # The name may lead for a moment yet to one that another process has ended.
                if asyncio.get_running_loop().time() >= end:
                    logger.warning("session %s died as it was made: %s", spec.session_id, error)
                    msg = "Its process died as it was made: the log of its Ray node says why."
                    raise SandboxStartError(msg) from error
            await asyncio.sleep(SETTLE_PAUSE_SECONDS)

    async def _wait_for_room(
        self,
        handle: Any,  # noqa: ANN401
        spec: SessionSpec,
        node_id: str | None,
    ) -> None:
        """Wait until the actor has its place; say so soon where there is none for it."""
        born = asyncio.ensure_future(
            cluster.answer(handle.protocol_version.remote(), spec.start_timeout_seconds)
        )
        waited = 0.0
        try:
            while True:
                done, _ = await asyncio.wait({born}, timeout=1.0)
                if done:
                    born.result()
                    return
                room = await self._agents.has_room(
                    spec.num_cpus, spec.memory_reservation_bytes, node_id
                )
                waited = 0.0 if room else waited + 1.0
                self._require_room(waited, node_id)
        except BaseException:
            born.cancel()
            await asyncio.gather(born, return_exceptions=True)
            await cluster.blocking(cluster.end_actor, handle)
            raise

    def _require_room(self, waited: float, node_id: str | None) -> None:
        if waited >= self._settings.capacity_wait_seconds:
            where = "cluster" if node_id is None else "node that holds this sandbox's files"
            raise NoCapacityError(f"The {where} has no room for one more sandbox just now.")

    async def stop(self, session_id: str, node_id: str | None) -> tuple[ExecutionRecord, ...]:
        """End actor and container, keep the folders."""
        # Another process may have replaced the actor that this one knows.
        self._forget(session_id)
        handle = await self._find(session_id)
        unrecorded: tuple[ExecutionRecord, ...] = ()
        if handle is not None and hasattr(handle, "shutdown"):
            try:
                unrecorded = await cluster.answer(handle.shutdown.remote(STOPPED), CALL_SECONDS)
            except ExecutorError as error:
                logger.warning("session %s did not stop by itself: %s", session_id, error)
        await self._end(session_id, node_id)
        return unrecorded

    async def _end(self, session_id: str, node_id: str | None) -> None:
        """Make sure that no actor is left, nor a container where Docker answers."""
        self._forget(session_id)
        await self._end_actors(session_id)
        try:
            await self._agents.remove_container(session_id, node_id)
        except ExecutorError as error:
            # Nothing runs in it without its actor; the reconciler removes it later.
            logger.warning("the container of session %s is still there: %s", session_id, error)

    async def _end_actors(self, session_id: str) -> None:
        """End whatever has the session's name, until Ray has given that free."""
        name = actor_name(session_id)
        end = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            handle = await cluster.blocking(cluster.find_actor, name, ACTOR_NAMESPACE)
            if handle is None:
                return
            if asyncio.get_running_loop().time() >= end:
                raise ClusterUnavailableError("The sandbox's process has not ended yet: try again.")
            await cluster.blocking(cluster.end_actor, handle)
            await asyncio.sleep(SETTLE_PAUSE_SECONDS)

    async def destroy(self, session_id: str, node_id: str | None) -> None:
        """Stop, and remove all there is of the session."""
        await self.stop(session_id, node_id)
        await self._agents.remove(session_id, node_id)

    async def inventory(self) -> Sequence[SessionTrace]:
        """List what there is of this instance's sessions, on every node."""
        prefix = f"{ACTOR_PREFIX}{self._settings.instance}-"
        names = await cluster.blocking(cluster.named_actors, prefix, ACTOR_NAMESPACE)
        alive = {name.removeprefix(ACTOR_PREFIX) for name in names}
        found = [
            SessionTrace(
                trace.session_id,
                trace.node_id,
                trace.session_id in alive,
                trace.container,
                trace.folders,
            )
            for trace in await self._agents.inventory()
        ]
        unseen = alive - {trace.session_id for trace in found}
        return found + [
            SessionTrace(session_id, None, actor=True, container=False, folders=False)
            for session_id in sorted(unseen)
        ]

    async def last_words(self, session_id: str, node_id: str | None) -> Collected | None:
        """Return what a session that is gone left to say on its node."""
        return await self._agents.last_words(session_id, node_id)

    async def problems(self) -> Sequence[str]:
        """Say what is missing on the nodes to run sandboxes."""
        return await self._agents.problems()

    async def ping(self) -> None:
        """Check that Ray answers."""
        alive = await cluster.blocking(cluster.alive_nodes, seconds=PING_SECONDS)
        if not alive:
            msg = "The cluster has no node that is alive."
            raise ClusterUnavailableError(msg)
