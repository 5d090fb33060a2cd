"""What there is of a session on the machine: its container, folders, mounts, rows and actor."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import asyncpg

from tests.support.stack import Stack, docker

ACTORS = """
import json, ray, sys
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(json.dumps([actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]))
"""
TABLES = {"sandboxes": "id", "executions": "sandbox_id", "packages": "sandbox_id"}


async def rows(stack: Stack, sandbox: str) -> dict[str, int]:
    """Count a sandbox's rows by table, whoever owns them."""
    connection = await asyncpg.connect(stack.state("postgres")["url"])
    try:
        await connection.execute("SET ROLE service_role")
        return {
            table: await connection.fetchval(
                f"SELECT count(*) FROM sandbox_api.{table} WHERE {column} = $1",  # noqa: S608 - constants
                UUID(sandbox),
            )
            for table, column in TABLES.items()
        }
    finally:
        await connection.close()


def containers(sandbox: str) -> list[str]:
    """List a sandbox's containers, running or not."""
    label = f"label=sandbox-api.sandbox={sandbox}"
    return docker("ps", "--all", "--quiet", "--filter", label).split()


def places(stack: Stack, session: str) -> list[str]:
    """List what has the session's name below DATA_DIR, among the mounts and in short folders."""
    found = [
        str(path)
        for root in (stack.layout.data_dir, stack.layout.short)
        for path in root.glob(f"*/*{session}*")
    ]
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return found + [line for line in mounts if session in line]


def actors(stack: Stack, session: str) -> list[str]:
    """List the Ray actors that have the session's name in theirs."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(stack.layout.ray_token),
    }
    command = [sys.executable, "-c", ACTORS, stack.state("ray")["address"]]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, check=True)
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return [name for name in names if session in name]
