"""The roles where missing, the tables, and whose rows each role sees.

Revision 20261123180000, after nothing.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261123180000"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "sandbox_api"
TABLES = ("sandboxes", "executions", "packages", "leases")
OWNED = ("sandboxes", "executions", "packages")

# Roles are the cluster's: another database of it may be making them at this moment.
ROLES = """
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    -- What `SET LOCAL ROLE` needs; `anon` is never taken on.
    FOREACH wanted IN ARRAY ARRAY['authenticated', 'service_role'] LOOP
        IF NOT pg_catalog.pg_has_role(current_user, wanted, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', wanted, current_user);
        ELSIF current_setting('server_version_num')::int >= 160000 THEN
            -- Since 16 a role's maker is its member and still may not take it on.
            IF NOT pg_catalog.pg_has_role(current_user, wanted, 'SET') THEN
                EXECUTE format('GRANT %I TO %I', wanted, current_user);
            END IF;
        END IF;
    END LOOP;
END
$$
"""

# As Supabase defines them; where they are, they stay as they are.
AUTH = """
DO $$
BEGIN
    IF pg_catalog.to_regnamespace('auth') IS NULL THEN
        CREATE SCHEMA auth;
        GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    END IF;
    IF pg_catalog.to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $body$
            SELECT coalesce(
                nullif(current_setting('request.jwt.claim.sub', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
            )::uuid
        $body$;
    END IF;
    -- Nothing of ours needs it: for policies of the owner's own.
    IF pg_catalog.to_regprocedure('auth.jwt()') IS NULL
        AND pg_catalog.has_schema_privilege('auth', 'CREATE')
    THEN
        CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $body$
            SELECT coalesce(
                nullif(current_setting('request.jwt.claim', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')
            )::jsonb
        $body$;
    END IF;
END
$$
"""

# Everything but `environment_encrypted`.
SANDBOX_READABLE = (
    "id, owner_id, name, status, status_reason, image, metadata, environment_names, "
    "idle_timeout_seconds, lifetime_seconds, session_id, node_id, operation_id, "
    "operation_deadline, idempotency_key, deleting, created_at, updated_at, started_at, "
    "last_active_at"
)
# Nothing of a session's: one is set by a change of status.
SANDBOX_INSERTABLE = (
    "id, owner_id, name, status, image, metadata, environment_encrypted, environment_names, "
    "idle_timeout_seconds, lifetime_seconds, idempotency_key, deleting"
)
# Not the owner, not the image, not the environment.
SANDBOX_UPDATABLE = (
    "name, status, status_reason, metadata, idle_timeout_seconds, lifetime_seconds, "
    "session_id, node_id, operation_id, operation_deadline, deleting, updated_at, started_at, "
    "last_active_at"
)
# The output is the recorder's to write.
EXECUTION_INSERTABLE = (
    "id, owner_id, sandbox_id, session_id, kind, client_execution_id, code, status"
)


def upgrade() -> None:
    """Four tables, closed to all but their owners and the service."""
    op.execute(ROLES)
    op.execute(AUTH)
    _create_sandboxes()
    _create_executions()
    _create_packages()
    _create_leases()
    _secure()


def downgrade() -> None:
    """Nothing of ours but the schema and the roles, which others may use."""
    for table in reversed(TABLES):
        op.drop_table(table, schema=SCHEMA)


def _timestamp(name: str, *, now: bool = False) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=not now,
        server_default=sa.func.now() if now else None,
    )


def _create_sandboxes() -> None:
    op.create_table(
        "sandboxes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text()),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("environment_encrypted", sa.LargeBinary()),
        sa.Column(
            "environment_names",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            server_default=sa.text("'{}'"),
        ),
        sa.Column("idle_timeout_seconds", sa.Float(), nullable=False),
        sa.Column("lifetime_seconds", sa.Float(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("node_id", sa.Text()),
        sa.Column("operation_id", sa.Uuid()),
        _timestamp("operation_deadline"),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("deleting", sa.Boolean(), nullable=False, server_default=sa.false()),
        _timestamp("created_at", now=True),
        _timestamp("updated_at", now=True),
        _timestamp("started_at"),
        _timestamp("last_active_at"),
        sa.CheckConstraint(
            "status IN ('STOPPED', 'STARTING', 'RUNNING', 'STOPPING', 'FAILED')",
            name=op.f("sandboxes_status_check"),
        ),
        sa.PrimaryKeyConstraint("id", name="sandboxes_pkey"),
        sa.UniqueConstraint("session_id", name="sandboxes_session_id_key"),
        sa.UniqueConstraint(
            "owner_id", "idempotency_key", name="sandboxes_owner_id_idempotency_key_key"
        ),
        sa.UniqueConstraint("id", "owner_id", name="sandboxes_id_owner_id_key"),
        schema=SCHEMA,
    )
    op.create_index(
        "sandboxes_newest_idx", "sandboxes", ["owner_id", "created_at", "id"], schema=SCHEMA
    )
    op.create_index(
        "sandboxes_metadata_idx",
        "sandboxes",
        ["metadata"],
        schema=SCHEMA,
        postgresql_using="gin",
    )
    op.create_index(
        "sandboxes_alive_idx",
        "sandboxes",
        ["status"],
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('STARTING', 'RUNNING', 'STOPPING')"),
    )


def _create_executions() -> None:
    op.create_table(
        "executions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("sandbox_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("client_execution_id", sa.Text()),
        sa.Column("code", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("stdout", sa.LargeBinary(), nullable=False, server_default=sa.text("''")),
        sa.Column("stderr", sa.LargeBinary(), nullable=False, server_default=sa.text("''")),
        sa.Column("output_truncated", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("results", sa.LargeBinary(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("error", sa.LargeBinary()),
        sa.Column("execution_count", sa.Integer()),
        _timestamp("created_at", now=True),
        _timestamp("started_at"),
        _timestamp("finished_at"),
        sa.Column("duration_ms", sa.Float()),
        sa.Column("last_seq", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("interpreter_restarted", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.CheckConstraint("kind IN ('CODE', 'INSTALL')", name=op.f("executions_kind_check")),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT',"
            " 'INTERRUPTED', 'LOST')",
            name=op.f("executions_status_check"),
        ),
        sa.PrimaryKeyConstraint("id", name="executions_pkey"),
        _of_a_sandbox("executions"),
        sa.UniqueConstraint(
            "sandbox_id",
            "client_execution_id",
            name="executions_sandbox_id_client_execution_id_key",
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "executions_newest_idx", "executions", ["sandbox_id", "created_at", "id"], schema=SCHEMA
    )
    op.create_index(
        "executions_unended_idx",
        "executions",
        ["owner_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('QUEUED', 'RUNNING')"),
    )
    op.create_index(
        "executions_finished_idx",
        "executions",
        ["finished_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )


def _create_packages() -> None:
    op.create_table(
        "packages",
        sa.Column("sandbox_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sandbox_id", "name", name="packages_pkey"),
        _of_a_sandbox("packages"),
        schema=SCHEMA,
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="leases_pkey"),
        schema=SCHEMA,
    )


def _of_a_sandbox(table: str) -> sa.ForeignKeyConstraint:
    """Refer to the sandbox with its owner: nothing hangs on another tenant's sandbox."""
    return sa.ForeignKeyConstraint(
        ["sandbox_id", "owner_id"],
        [f"{SCHEMA}.sandboxes.id", f"{SCHEMA}.sandboxes.owner_id"],
        name=f"{table}_sandbox_id_owner_id_fkey",
        ondelete="CASCADE",
    )


def _secure() -> None:
    for table in (*TABLES, "alembic_version"):
        op.execute(f"ALTER TABLE {SCHEMA}.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {SCHEMA}.{table} FROM PUBLIC, anon, authenticated")
    for table in TABLES:
        op.execute(f"ALTER TABLE {SCHEMA}.{table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_service ON {SCHEMA}.{table} TO service_role"
            " USING (true) WITH CHECK (true)"
        )
    for table in OWNED:
        # The sub-select makes Postgres ask once a statement instead of once a row.
        op.execute(
            f"CREATE POLICY {table}_owner ON {SCHEMA}.{table} TO authenticated"
            " USING (owner_id = (SELECT auth.uid()))"
            " WITH CHECK (owner_id = (SELECT auth.uid()))"
        )
    op.execute(f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC, anon")
    op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO authenticated, service_role")
    names = ", ".join(f"{SCHEMA}.{table}" for table in TABLES)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {names} TO service_role")
    sandboxes = f"{SCHEMA}.sandboxes TO authenticated"
    op.execute(
        f"GRANT SELECT ({SANDBOX_READABLE}), INSERT ({SANDBOX_INSERTABLE}),"
        f" UPDATE ({SANDBOX_UPDATABLE}), DELETE ON {sandboxes}"
    )
    op.execute(
        f"GRANT SELECT, INSERT ({EXECUTION_INSERTABLE}) ON {SCHEMA}.executions TO authenticated"
    )
    op.execute(f"GRANT SELECT ON {SCHEMA}.packages TO authenticated")
