"""The tables, all in a schema of their own.

Row-level security, grants and roles are in the migrations: SQLAlchemy does not know them.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

SCHEMA = "sandbox_api"
"""Never `public`: Supabase serves that one over REST to every user token."""

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)

UNENDED_STATUSES = ("QUEUED", "RUNNING")
UNENDED = text("status IN ('QUEUED', 'RUNNING')")

# A type for `sa_type`: sqlmodel's annotation takes classes only, and runs with instances.
TIMESTAMP: Any = DateTime(timezone=True)


class Table(SQLModel):
    """Base of the rows: every table goes to the project's schema."""

    metadata = metadata


class SandboxRow(Table, table=True):
    """A sandbox of one owner's, and the session that serves it."""

    __tablename__ = "sandboxes"
    __table_args__ = (
        CheckConstraint(
            "status IN ('STOPPED', 'STARTING', 'RUNNING', 'STOPPING', 'FAILED')", name="status"
        ),
        UniqueConstraint("session_id"),
        UniqueConstraint("owner_id", "idempotency_key"),
        # What executions and packages refer to, so that they have their sandbox's owner.
        UniqueConstraint("id", "owner_id"),
        Index("sandboxes_newest_idx", "owner_id", "created_at", "id"),
        Index("sandboxes_metadata_idx", "metadata", postgresql_using="gin"),
        Index(
            "sandboxes_alive_idx",
            "status",
            postgresql_where=text("status IN ('STARTING', 'RUNNING', 'STOPPING')"),
        ),
        # Not an attribute, so that no query of a tenant's asks for what it may not read.
        Column("environment_encrypted", LargeBinary, nullable=True),
        {"schema": SCHEMA},
    )
    __mapper_args__: ClassVar[dict[str, object]] = {"exclude_properties": ["environment_encrypted"]}

    id: UUID = Field(primary_key=True)
    owner_id: UUID
    name: str | None = Field(default=None, sa_type=Text)
    status: str = Field(sa_type=Text)
    status_reason: str | None = Field(default=None, sa_type=Text)
    image: str = Field(sa_type=Text)
    labels: dict[str, str] = Field(
        sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'"))
    )
    environment_names: list[str] = Field(
        sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    idle_timeout_seconds: float
    lifetime_seconds: float
    session_id: str | None = Field(default=None, sa_type=Text)
    node_id: str | None = Field(default=None, sa_type=Text)
    operation_id: UUID | None = None
    operation_deadline: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    deleting: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    created_at: datetime = Field(sa_type=TIMESTAMP, sa_column_kwargs={"server_default": func.now()})
    updated_at: datetime = Field(sa_type=TIMESTAMP, sa_column_kwargs={"server_default": func.now()})
    started_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    last_active_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class ExecutionRow(Table, table=True):
    """A run of code or an installation.

    Texts of the code's are bytes (UTF-8), since Postgres' `text` and `jsonb` refuse NUL;
    `results` and `error` are JSON.
    """

    __tablename__ = "executions"
    __table_args__ = (
        CheckConstraint("kind IN ('CODE', 'INSTALL')", name="kind"),
        CheckConstraint(
            "status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT',"
            " 'INTERRUPTED', 'LOST')",
            name="status",
        ),
        ForeignKeyConstraint(
            ["sandbox_id", "owner_id"],
            [f"{SCHEMA}.sandboxes.id", f"{SCHEMA}.sandboxes.owner_id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("sandbox_id", "client_execution_id"),
        Index("executions_newest_idx", "sandbox_id", "created_at", "id"),
        Index("executions_unended_idx", "owner_id", postgresql_where=UNENDED),
        Index(
            "executions_finished_idx",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        {"schema": SCHEMA},
    )

    id: UUID = Field(primary_key=True)
    owner_id: UUID
    sandbox_id: UUID
    session_id: str | None = Field(default=None, sa_type=Text)
    kind: str = Field(sa_type=Text)
    client_execution_id: str | None = Field(default=None, sa_type=Text)
    code: bytes
    status: str = Field(sa_type=Text)
    exit_code: int | None = None
    stdout: bytes = Field(default=b"", sa_column_kwargs={"server_default": text("''")})
    stderr: bytes = Field(default=b"", sa_column_kwargs={"server_default": text("''")})
    output_truncated: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    results: bytes = Field(default=b"[]", sa_column_kwargs={"server_default": text("'[]'")})
    error: bytes | None = None
    execution_count: int | None = None
    created_at: datetime = Field(sa_type=TIMESTAMP, sa_column_kwargs={"server_default": func.now()})
    started_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    finished_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    duration_ms: float | None = None
    last_seq: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    interpreter_restarted: bool = Field(default=False, sa_column_kwargs={"server_default": false()})


class PackageRow(Table, table=True):
    """A distribution that a sandbox can import."""

    __tablename__ = "packages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["sandbox_id", "owner_id"],
            [f"{SCHEMA}.sandboxes.id", f"{SCHEMA}.sandboxes.owner_id"],
            ondelete="CASCADE",
        ),
        {"schema": SCHEMA},
    )

    sandbox_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True, sa_type=Text)
    owner_id: UUID
    version: str = Field(sa_type=Text)


class LeaseRow(Table, table=True):
    """The right to do one thing alone until it expires."""

    __tablename__ = "leases"
    __table_args__ = ({"schema": SCHEMA},)

    name: str = Field(primary_key=True, sa_type=Text)
    holder: str = Field(sa_type=Text)
    expires_at: datetime = Field(sa_type=TIMESTAMP)


ENVIRONMENT_ENCRYPTED: Column[bytes | None] = metadata.tables[f"{SCHEMA}.sandboxes"].c[
    "environment_encrypted"
]
"""The owner's secrets, as the services encrypted them; only `service_role` may read them."""
