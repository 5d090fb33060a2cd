"""A Docker client whose containers are hardened, whoever asks for them.

ray-agents makes the containers; it is handed this client, which adds what it leaves out.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

import docker
import requests
from docker.models.containers import Container
from docker.types import LogConfig, Mount, Ulimit

from services.executor.attached import DockerStream
from services.executor.cgroup import NANOSECONDS, Consumption, ContainerGroup, parent
from services.executor.direct import Command, Entrance
from services.executor.errors import SandboxStartError
from services.executor.messages import SessionSpec
from services.executor.paths import SANDBOX_UID
from services.executor.sandbox_process import SandboxProcess

logger = logging.getLogger(__name__)

INIT_UID = SANDBOX_UID - 1
"""Owner of the init, so that the code can't signal it."""
TMPFS_BYTES = 64 * 1024 * 1024
SHM_BYTES = 64 * 1024 * 1024
CPU_PERIOD_MICROSECONDS = 20_000
"""Short, for a sandbox that has used its share stands still until the next one begins."""
LABEL = "sandbox-api"
DOCKER_TIMEOUT_SECONDS = 60
HTTP_CONFLICT = 409
NOTICE_SECONDS = 1.0
"""How long the cause of an end may wait for Docker to notice the end."""
END_SECONDS = 10.0
RUNNING = "running"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What Docker gives a command in an image that names none."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """The only folders of the host that a container sees."""

    workspace: str
    packages: str
    program: str
    library: str


def hardening(spec: SessionSpec, mounts: Mounts) -> dict[str, Any]:
    """Return Docker's options for a sandbox: what is not named here is Docker's default."""
    limits = spec.limits
    return {
        "runtime": spec.runtime,
        "init": True,
        "entrypoint": ["sleep", "infinity"],
        "command": None,
        "user": f"{INIT_UID}:{INIT_UID}",
        "working_dir": "/workspace",
        "environment": {},
        "tty": False,
        "stdin_open": False,
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "privileged": False,
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "cpu_period": CPU_PERIOD_MICROSECONDS,
        "cpu_quota": int(limits.cpus * CPU_PERIOD_MICROSECONDS),
        "pids_limit": limits.processes + 128,
        "ipc_mode": "private",
        "shm_size": SHM_BYTES,
        "tmpfs": {"/tmp": f"size={TMPFS_BYTES},mode=1777,nosuid,nodev"},  # noqa: S108
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="nofile", soft=4096, hard=4096),
        ],
        "log_config": LogConfig(type=LogConfig.types.NONE),
        "hostname": "sandbox",
        "labels": {
            f"{LABEL}.instance": spec.instance,
            f"{LABEL}.session": spec.session_id,
            f"{LABEL}.sandbox": spec.sandbox_id,
            f"{LABEL}.owner": spec.owner_id,
        },
        "volumes": None,
        "mounts": [
            _bind(mounts.workspace, "/workspace", read_only=False),
            _bind(mounts.packages, "/packages", read_only=True),
            _bind(mounts.program, "/opt/interpreter/program", read_only=True),
            _bind(mounts.library, "/opt/interpreter/lib", read_only=True),
        ],
    }


def _bind(source: str, target: str, *, read_only: bool) -> Mount:
    return Mount(target, source, type="bind", read_only=read_only, propagation="rprivate")


class HardenedClient:
    """Docker's client as ray-agents uses it, with `containers.run` hardened."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Connect as the environment says; `options` go over what a caller asks for."""
        self._client = docker.from_env(timeout=DOCKER_TIMEOUT_SECONDS)
        self.containers = _HardenedContainers(self._client, options)
        self.images = self._client.images

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _HardenedContainers:
    def __init__(self, client: docker.DockerClient, options: dict[str, Any]) -> None:
        self._client = client
        self._options = options

    def get(self, name: str) -> Container:
        """Find a container by name or id."""
        return self._client.containers.get(name)

    def run(self, image: str, name: str, **_asked: object) -> Container:
        """Create and start a container; only image and name are the caller's."""
        group = parent(self._client.info()["CgroupDriver"])
        container = self._client.containers.create(
            image, name=name, cgroup_parent=group, **self._options
        )
        try:
            container.start()
        except BaseException:
            container.remove(force=True)
            raise
        return container


def entrance(container: Container | None) -> Entrance:
    """Tell where a running container's own process is, and what its commands are given."""
    ours = running(container)
    config = ours.attrs["Config"]
    given = {"PATH": PATH, "HOSTNAME": config["Hostname"]}
    for variable in config["Env"] or ():
        name, _, value = variable.partition("=")
        given[name] = value
    return Entrance(str(ours.id), int(ours.attrs["State"]["Pid"]), given)


def open_exec(container: Container | None, command: Command) -> DockerStream:
    """Run a command in a running container and return its stream; blocking.

    The command must not speak first: what it says before the socket is ours could be lost
    in the HTTP client's buffer.
    """
    ours = running(container)
    api = _client(ours).api
    made = api.exec_create(
        ours.id,
        list(command.arguments),
        stdin=True,
        user=f"{command.uid}:{command.uid}",
        environment=dict(command.environment),
        workdir=command.folder,
    )
    # The client's wrapper around the socket differs by transport; its stubs name none of it.
    attached: Any = api.exec_start(made["Id"], socket=True)
    raw = attached._sock.dup()  # noqa: SLF001
    raw.setblocking(False)  # noqa: FBT003
    attached._response.close()  # noqa: SLF001
    return DockerStream(raw)


def _client(container: Container) -> docker.DockerClient:
    client = container.client
    if client is None:
        msg = "the container is not connected to Docker"
        raise docker.errors.DockerException(msg)
    return client


def kill(container: Container | None) -> None:
    """End a container by Docker; one that does not run any more is no error."""
    if container is None:
        return
    try:
        container.kill()
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != HTTP_CONFLICT:
            raise


def await_end(container: Container | None) -> None:
    """Wait until Docker has noticed that a sandbox is gone, for it takes it for a running one.

    It is not asked to end it meanwhile: a bomb of forks leaves its shim hundreds of ends to
    take note of, and with those before it the shim waits for as much as 40 s for its own `kill`.
    """
    if not ended(container, END_SECONDS):
        kill(container)


def remove(client: HardenedClient | docker.DockerClient, name: str) -> None:
    """Remove a container by name, running or not; one that is not there is no error."""
    try:
        container = client.containers.get(name)
        if (process := sandbox_process(container)) is not None:
            # Docker would wait without end for one that hangs.
            process.end()
            process.close()
            await_end(container)
        container.remove(force=True)
    except docker.errors.NotFound:
        return


def sandbox_process(container: Container) -> SandboxProcess | None:
    """Find the sandbox of a container as it was when Docker was last asked."""
    pid = int(container.attrs.get("State", {}).get("Pid", 0))
    return SandboxProcess.find(str(container.id), pid)


def running(container: Container | None) -> Container:
    """Return the container, which runs. Raises `SandboxStartError`."""
    if status(container) != RUNNING or container is None:
        raise SandboxStartError("The container ended as soon as it was started.")
    return container


def status(container: Container | None) -> str:
    """Ask Docker for a container's status; `none` where there is no container."""
    if container is None:
        return "none"
    container.reload()
    return str(container.status)


def ended(container: Container | None, seconds: float) -> bool:
    """Wait until a container runs no more, at most so long; False too where nobody knows."""
    if container is None:
        return True
    try:
        container.wait(timeout=seconds)
    except docker.errors.NotFound:
        return True
    except (docker.errors.DockerException, requests.RequestException, OSError):
        return False
    return True


def cause_of_death(container: Container | None, memory_bytes: int) -> str:
    """Say in plain words why a container is dead, as far as Docker knows."""
    if container is None:
        return "it was stopped"
    try:
        _settle(container)
    except docker.errors.NotFound:
        return "its container was removed from outside"
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        return f"Docker does not answer ({error})"
    state = container.attrs.get("State", {})
    if state.get("Running"):
        return "the interpreter's supervisor was killed"
    megabytes = memory_bytes // (1024 * 1024)
    if state.get("OOMKilled"):
        return f"it ran out of its {megabytes} MB of memory"
    return (
        f"its container ended with code {state.get('ExitCode')}: it ran out of its "
        f"{megabytes} MB of memory, or was killed from outside"
    )


def _settle(container: Container) -> None:
    """Ask for the state until Docker has noticed an end, which comes after the stream's."""
    deadline = time.monotonic() + NOTICE_SECONDS
    while status(container) == RUNNING and time.monotonic() < deadline:
        time.sleep(NOTICE_SECONDS / 20)


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What a container uses now."""

    status: str
    used: Consumption


def usage(container: Container, group: ContainerGroup) -> ContainerUsage:
    """Read a container's memory and CPU time, of its cgroups or else by Docker; blocking."""
    container.reload()
    used = group.consumption()
    if used is None:
        stats = _client(container).api.stats(str(container.id), stream=False, one_shot=True)
        memory = stats.get("memory_stats", {}).get("usage", 0)
        nanoseconds = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0)
        used = Consumption(int(memory), float(nanoseconds) / NANOSECONDS)
    return ContainerUsage(str(container.status), used)
