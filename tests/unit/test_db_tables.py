"""The tables allow exactly the values that the services know."""

import re

import pytest
from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

from db.repositories.running import ALIVE_STATUSES, LOST
from db.tables import SCHEMA, UNENDED_STATUSES, ExecutionRow, SandboxRow, metadata
from services.entities import SandboxStatus
from services.executor.messages import ExecutionKind, ExecutionStatus


def allowed(table: type[SQLModel], column: str) -> set[str]:
    """Return the values that a column's constraint lists."""
    checks = [
        str(each.sqltext)
        for each in metadata.tables[f"{SCHEMA}.{table.__tablename__}"].constraints
        if isinstance(each, CheckConstraint) and str(each.sqltext).startswith(column)
    ]
    (check,) = checks
    return set(re.findall(r"'(\w+)'", check))


def test_sandbox_statuses() -> None:
    """Every status of a sandbox can be stored, and nothing else."""
    assert allowed(SandboxRow, "status") == set(SandboxStatus)
    assert set(ALIVE_STATUSES) < set(SandboxStatus)


def test_execution_statuses() -> None:
    """Every status of an execution can be stored, and the unended ones are those that go on."""
    assert allowed(ExecutionRow, "status") == set(ExecutionStatus)
    assert set(UNENDED_STATUSES) == {each for each in ExecutionStatus if not each.ended}
    assert LOST == ExecutionStatus.LOST


def test_execution_kinds() -> None:
    """Runs of ray-agents' tools have no record."""
    assert allowed(ExecutionRow, "kind") == set(ExecutionKind) - {ExecutionKind.TOOL}


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_schema(table: object) -> None:
    """No table is in a schema that Supabase serves."""
    assert getattr(table, "schema", None) == SCHEMA
