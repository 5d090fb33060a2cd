-- Written by `python -m db.export`: change db/migrations and write it again.

CREATE SCHEMA IF NOT EXISTS sandbox_api;

-- Running upgrade 20261123180000 -> 20261124090000

CREATE FUNCTION sandbox_api.begin_execution(
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
        FROM sandbox_api.sandboxes
        WHERE id = p_sandbox
    ), known AS MATERIALIZED (
        SELECT id FROM sandbox_api.executions
        WHERE id = p_execution
            OR (sandbox_id = p_sandbox AND client_execution_id = p_client_execution_id)
        LIMIT 1
    ), pending AS MATERIALIZED (
        SELECT count(*) AS number FROM sandbox_api.executions
        WHERE owner_id = (SELECT owner_id FROM target) AND status IN ('QUEUED', 'RUNNING')
    ), lately AS MATERIALIZED (
        SELECT count(*) AS number FROM sandbox_api.executions
        WHERE p_max_recent IS NOT NULL AND kind = p_kind
            AND created_at > now() - interval '1 minute'
    ), added AS (
        INSERT INTO sandbox_api.executions
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
$body$;

REVOKE ALL ON FUNCTION sandbox_api.begin_execution(text, bigint, uuid, uuid, text, text, bytea, bigint, bigint) FROM PUBLIC;

UPDATE sandbox_api.alembic_version SET version_num='20261124090000' WHERE sandbox_api.alembic_version.version_num = '20261123180000';
