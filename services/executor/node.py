"""The agent of one Ray node: looks after what sessions leave there when their actor is gone."""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import requests

from services.executor import containers
from services.executor.cluster import Free, free_resources
from services.executor.containers import LABEL
from services.executor.errors import ClusterUnavailableError, SandboxStartError
from services.executor.messages import Collected, SessionLimits, SessionTrace
from services.executor.program import library_folder
from services.executor.rayagents import CONTAINER_PREFIX
from services.executor.storage import SessionStorage, stored_sessions

logger = logging.getLogger(__name__)

UNREACHABLE = (docker.errors.DockerException, requests.RequestException, OSError)
CUSTOM_IMAGE_PREFIX = "ray-code-custom"


@contextmanager
def _docker() -> Iterator[docker.DockerClient]:
    """Connect to Docker. Raises `ClusterUnavailableError` where it does not answer."""
    try:
        with closing(docker.from_env()) as client:
            yield client
    except UNREACHABLE as error:
        msg = f"Docker does not do what it should on a node: {error}"
        raise ClusterUnavailableError(msg) from error


class NodeAgent:
    """One instance's eyes and hands on a node. Stateless: it may be replaced at any time."""

    def __init__(self, instance: str, node_id: str, node_data_dir: str) -> None:
        """Look after sessions of `instance` below `node_data_dir`."""
        self._instance = instance
        self._node_id = node_id
        self._data_dir = Path(node_data_dir)

    async def inventory(self) -> Sequence[SessionTrace]:
        """List the sessions that have a container or folders here."""
        return await asyncio.to_thread(self._inventory)

    def _inventory(self) -> Sequence[SessionTrace]:
        with _docker() as client:
            found = client.containers.list(
                all=True,
                ignore_removed=True,
                filters={"label": f"{LABEL}.instance={self._instance}"},
            )
            contained = {str(one.labels.get(f"{LABEL}.session")) for one in found}
        stored = set(stored_sessions(self._data_dir, self._instance))
        return [
            SessionTrace(
                session_id=session_id,
                node_id=self._node_id,
                actor=False,
                container=session_id in contained,
                folders=session_id in stored,
            )
            for session_id in sorted(contained | stored)
        ]

    async def remove_container(self, session_id: str) -> None:
        """Remove a session's container and unmount its disk; the files stay."""
        await asyncio.to_thread(self._remove_container, session_id)

    def _remove_container(self, session_id: str) -> None:
        with _docker() as client:
            containers.remove(client, f"{CONTAINER_PREFIX}-{session_id}")
        self._storage(session_id).unmount()

    async def remove(self, session_id: str) -> None:
        """Remove all there is of a session: container, image built for it, folders."""
        await asyncio.to_thread(self._remove, session_id)

    def _remove(self, session_id: str) -> None:
        self._remove_container(session_id)
        with _docker() as client:
            try:
                client.images.remove(f"{CUSTOM_IMAGE_PREFIX}-{session_id}", force=True)
            except docker.errors.ImageNotFound:
                logger.debug("no image of session %s is left", session_id)
        self._storage(session_id).destroy()

    def _storage(self, session_id: str) -> SessionStorage:
        return SessionStorage(self._data_dir, session_id, SessionLimits())

    async def last_words(self, session_id: str) -> Collected | None:
        """Return why a session ended that is gone, where it left word."""
        return await asyncio.to_thread(self._last_words, session_id)

    def _last_words(self, session_id: str) -> Collected | None:
        path = self._storage(session_id).folder / "ended.json"
        try:
            words = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        return Collected(
            session_id=session_id,
            ended=(),
            packages=None,
            packages_version=0,
            last_active_at=float(words["last_active_at"]),
            busy=False,
            stopped_reason=str(words["reason"]),
            failed=bool(words["failed"]),
        )

    async def free_resources(self) -> Free:
        """Return what each node of the cluster has free."""
        return await asyncio.to_thread(free_resources)

    async def problems(self, image: str, runtime: str) -> Sequence[str]:
        """Say what is missing here to run sandboxes; nothing where all is well."""
        return await asyncio.to_thread(self._problems, image, runtime)

    def _problems(self, image: str, runtime: str) -> Sequence[str]:
        problems = []
        try:
            client = docker.from_env(timeout=5)
            try:
                if runtime not in client.info().get("Runtimes", {}):
                    problems.append(f"Docker has no runtime {runtime!r} (gVisor)")
                client.images.get(image)
            finally:
                client.close()
        except docker.errors.ImageNotFound:
            problems.append(f"the image {image!r} is missing")
        except UNREACHABLE as error:
            problems.append(f"Docker does not answer: {error}")
        try:
            library_folder(self._data_dir)
        except SandboxStartError as error:
            problems.append(error.message)
        return problems
