"""Processes to look at: their memory, and which of them is a sandbox's actor."""

import os
from pathlib import Path

import docker

from ops.process import all_processes, command_line

NANOSECONDS = 1_000_000_000
LABEL = "sandbox-api.sandbox"
ACTOR = "ray::"


def resident(process: int | None) -> int:
    """Return a process's resident memory in bytes; 0 where it is not known or gone."""
    if process is None:
        return 0
    try:
        fields = Path(f"/proc/{process}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def loop_seconds(process: int) -> float:
    """Return the processor time of a process's first thread, in which a server has its loop.

    Other threads are Ray's, and work whether anybody asks or not.
    """
    nanoseconds, *_ = Path(f"/proc/{process}/schedstat").read_text().split()
    return int(nanoseconds) / NANOSECONDS


def actor_of(client: docker.DockerClient, sandbox: str) -> int | None:
    """Return the id of the process that is a sandbox's actor, None where it is not found.

    It is the parent of the command that entered the sandbox's container.
    """
    for container in client.containers.list(filters={"label": f"{LABEL}={sandbox}"}):
        for process in all_processes():
            words = command_line(process).split()
            if words[-1:] == [container.id] and "exec" in words:
                parent = _parent(process)
                if parent is not None and command_line(parent).startswith(ACTOR):
                    return parent
    return None


def _parent(process: int) -> int | None:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])
