"""What production refuses to start with."""

import subprocess
import sys

import pytest

from ops.layout import REPOSITORY
from services.executor.ports import free_port
from tests.support.stack import Stack

PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "SUPABASE_JWT_SECRET": "x" * 40,
}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SANDBOX_RUNTIME": "runc"}, "SANDBOX_RUNTIME"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"SUPABASE_JWT_SECRET": ""}, "SUPABASE_JWT_SECRET"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
    ],
)
def test_production_refuses(stack: Stack, variables: dict[str, str], named: str) -> None:
    """It ends at once with one line that names the setting, and an exit code that is not 0."""
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(free_port())]
    environment = stack.environment(**(PRODUCTION | variables))
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, check=False, timeout=60
    )
    lines = done.stderr.decode().splitlines()

    assert done.returncode != 0
    assert len([line for line in lines if named in line]) == 1
    assert not any("Traceback" in line for line in lines)
