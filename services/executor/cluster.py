"""The connection to Ray: actors by name, calls with a time limit, faults by our own names."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import ray
from ray._private.state import available_resources_per_node
from ray.exceptions import (
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from services.executor.errors import (
    ClusterUnavailableError,
    ExecutorError,
    NoCapacityError,
    SessionGoneError,
)

logger = logging.getLogger(__name__)

CALL_SECONDS = 30.0
CONNECT_SECONDS = 60.0
type Free = Mapping[str, Mapping[str, float]]
"""What each node has free, by its id: `CPU`, `memory` in bytes, and others; none is not there."""
SOURCE = Path(__file__).resolve().parent.parent
"""The package that goes to the nodes: `services`, of which the executor is a part."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Where the cluster is, and how this instance uses it."""

    address: str
    """`auto`, `host:port` or `ray://host:port`."""
    instance: str
    node_data_dir: str
    image: str
    runtime: str = "runsc"
    capacity_wait_seconds: float = 10.0
    """How long a start waits for room before it says that there is none."""


def connect(settings: ClusterSettings) -> None:
    """Connect this process to the cluster, its code going along; blocking.

    `RAY_AUTH_MODE` and the token's place must be in the environment before Ray is imported.
    Raises `ClusterUnavailableError`.
    """
    try:
        ray.init(
            address=settings.address,
            namespace=f"sandbox-api-{settings.instance}",
            log_to_driver=False,
            configure_logging=False,
            ignore_reinit_error=True,
            runtime_env={"py_modules": [str(SOURCE)], "excludes": ["**/__pycache__"]},
        )
    except (ConnectionError, RuntimeError, RayError, ValueError) as error:
        msg = f"Ray does not answer at {settings.address}: {error}"
        raise ClusterUnavailableError(msg) from error


def disconnect() -> None:
    """Leave the cluster; detached actors stay."""
    ray.shutdown()


async def blocking[T](
    call: Callable[..., T], *arguments: object, seconds: float = CALL_SECONDS
) -> T:
    """Run one of Ray's blocking calls beside the loop, and name its faults."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(call, *arguments)
    except TimeoutError as error:
        raise _unavailable("it did not answer in time") from error
    except (RayError, ConnectionError) as error:
        raise _unavailable(str(error)) from error


async def answer(reference: object, seconds: float) -> Any:  # noqa: ANN401
    """Wait for an actor's answer; what it raised is raised here.

    Raises `SessionGoneError` where the actor is dead, `NoCapacityError` where its node could
    never take it, and `ClusterUnavailableError` where Ray does not answer in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await cast("Awaitable[Any]", reference)
    except RayTaskError as error:
        if isinstance(error.cause, ExecutorError):
            raise error.cause from None
        raise
    except ActorUnschedulableError as error:
        msg = (
            "The node that is to have the sandbox is gone, or smaller than what a sandbox reserves."
        )
        raise NoCapacityError(msg) from error
    except ActorUnavailableError as error:
        raise _unavailable(str(error)) from error
    except RayActorError as error:
        msg = "The sandbox's session is not there any more."
        raise SessionGoneError(msg) from error
    except (TimeoutError, GetTimeoutError) as error:
        raise _unavailable("the session did not answer in time") from error
    except (RayError, ConnectionError) as error:
        raise _unavailable(str(error)) from error


def _unavailable(why: str) -> ClusterUnavailableError:
    return ClusterUnavailableError(f"The cluster did not answer: {why}.")


def find_actor(name: str, namespace: str) -> Any | None:  # noqa: ANN401
    """Return the actor of this name, None where there is none; blocking."""
    try:
        return ray.get_actor(name, namespace=namespace)
    except ValueError:
        return None


def named_actors(prefix: str, namespace: str) -> Sequence[str]:
    """Return the names with a prefix of actors that are alive; blocking."""
    found = list_named_actors(all_namespaces=True)
    return [
        str(one["name"])
        for one in found
        if one["namespace"] == namespace and str(one["name"]).startswith(prefix)
    ]


def create_actor(
    kind: type, options: dict[str, Any], node_id: str | None, *arguments: object
) -> Any:  # noqa: ANN401
    """Create a detached actor, on a node where one is named; blocking.

    Raises `ValueError` where the name is taken.
    """
    if node_id is not None:
        options = options | {
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)
        }
    remote = _remote_class(kind).options(lifetime="detached", max_restarts=0, **options)
    return remote.remote(*arguments)


@cache
def _remote_class(kind: type) -> Any:  # noqa: ANN401
    """Make Ray's class once: each one made is kept in the cluster's memory for good."""
    return ray.remote(kind)


def same_actor(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two handles are of one actor; a name may lead to several, one after another."""
    return bool(one._actor_id == other._actor_id)  # noqa: SLF001 # Ray shows it nowhere else


def alive_nodes() -> Sequence[str]:
    """Return the ids of the nodes that are alive; blocking."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [str(node["NodeID"]) for node in nodes if node["Alive"]]


def free_resources() -> Free:
    """Return what each node has free, for a process of the cluster's own; blocking.

    Ray's public `available_resources` adds all nodes up, and its state API needs a dashboard;
    this one is marked as for developers, and a driver over `ray://` does not have it.
    """
    free: Free = available_resources_per_node()  # type: ignore[no-untyped-call]
    return free


def has_room(free: Free, num_cpus: float, memory_bytes: int, node_id: str | None) -> bool:
    """Whether one node has all of this free: the one that is named, or any."""
    nodes = free.values() if node_id is None else [free.get(node_id, {})]
    return any(
        node.get("CPU", 0) >= num_cpus and node.get("memory", 0) >= memory_bytes for node in nodes
    )


def end_actor(handle: Any) -> None:  # noqa: ANN401
    """End an actor at once; blocking."""
    ray.kill(handle, no_restart=True)


def source_version() -> str:
    """Name the code that goes to the nodes, by its content."""
    digest = hashlib.sha256()
    for source in sorted(SOURCE.rglob("*.py")):
        digest.update(source.relative_to(SOURCE).as_posix().encode() + source.read_bytes())
    return digest.hexdigest()[:12]
