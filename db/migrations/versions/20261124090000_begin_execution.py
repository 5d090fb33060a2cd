"""What `executeCode` asks, in one statement that is a transaction of its own.

Revision 20261124090000, after 20261123180000.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261124090000"
down_revision: str | None = "20261123180000"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "sandbox_api"
ARGUMENTS = "text, bigint, uuid, uuid, text, text, bytea, bigint, bigint"

# It runs with its caller's rights and takes the user's on before it looks at any row. Each of
# its statements sees what was committed before it: the count is taken after the lock.
BEGIN_EXECUTION = f"""
CREATE FUNCTION {SCHEMA}.begin_execution(
    p_claims text, p_lock bigint, p_sandbox uuid, p_execution uuid, p_kind text,
    p_client_execution_id text, p_code bytea, p_max_unended bigint, p_max_recent bigint
) RETURNS TABLE (
    status text, deleting boolean, session_id text, node_id text, added_id uuid,
    created_at timestamptz, known_id uuid, unended bigint, recent bigint
) LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS $body$
#variable_conflict use_column
BEGIN
    PERFORM set_config('role', 'authenticated', true),
        set_config('lock_timeout', '10s', true),
        set_config('request.jwt.claims', p_claims, true);
    PERFORM pg_advisory_xact_lock(p_lock);
    RETURN QUERY
    WITH target AS MATERIALIZED (
        SELECT id, owner_id, status, deleting, session_id, node_id
        FROM {SCHEMA}.sandboxes
        WHERE id = p_sandbox
    ), known AS MATERIALIZED (
        SELECT id FROM {SCHEMA}.executions
        WHERE id = p_execution
            OR (sandbox_id = p_sandbox AND client_execution_id = p_client_execution_id)
        LIMIT 1
    ), pending AS MATERIALIZED (
        SELECT count(*) AS number FROM {SCHEMA}.executions
        WHERE owner_id = (SELECT owner_id FROM target) AND status IN ('QUEUED', 'RUNNING')
    ), lately AS MATERIALIZED (
        SELECT count(*) AS number FROM {SCHEMA}.executions
        WHERE p_max_recent IS NOT NULL AND kind = p_kind
            AND created_at > now() - interval '1 minute'
    ), added AS (
        INSERT INTO {SCHEMA}.executions
            (id, owner_id, sandbox_id, session_id, kind, client_execution_id, code, status)
        SELECT p_execution, owner_id, id, session_id, p_kind, p_client_execution_id, p_code,
            'QUEUED'
        FROM target, pending, lately
        WHERE status = 'RUNNING' AND NOT deleting AND pending.number < p_max_unended
            AND (p_max_recent IS NULL OR lately.number < p_max_recent)
            AND NOT EXISTS (SELECT FROM known)
        ON CONFLICT (sandbox_id, client_execution_id) DO NOTHING
        RETURNING id, created_at
    )
    SELECT target.status, target.deleting, target.session_id, target.node_id, added.id,
        added.created_at, known.id, pending.number, lately.number
    FROM target
    CROSS JOIN pending
    CROSS JOIN lately
    LEFT JOIN added ON true
    LEFT JOIN known ON true;
END
$body$
"""  # noqa: S608 # the schema's name is ours


def upgrade() -> None:
    """Make the function; nobody but who may use the tables may call it."""
    op.execute(BEGIN_EXECUTION)
    op.execute(f"REVOKE ALL ON FUNCTION {SCHEMA}.begin_execution({ARGUMENTS}) FROM PUBLIC")


def downgrade() -> None:
    """Remove the function."""
    op.execute(f"DROP FUNCTION {SCHEMA}.begin_execution({ARGUMENTS})")
