-- Written by `python -m db.export`: change db/migrations and write it again.

CREATE SCHEMA IF NOT EXISTS sandbox_api;

CREATE TABLE sandbox_api.alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 20261123180000

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
$$;

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
$$;

CREATE TABLE sandbox_api.sandboxes (
    id UUID NOT NULL,
    owner_id UUID NOT NULL,
    name TEXT,
    status TEXT NOT NULL,
    status_reason TEXT,
    image TEXT NOT NULL,
    metadata JSONB DEFAULT '{}' NOT NULL,
    environment_encrypted BYTEA,
    environment_names TEXT[] DEFAULT '{}' NOT NULL,
    idle_timeout_seconds FLOAT NOT NULL,
    lifetime_seconds FLOAT NOT NULL,
    session_id TEXT,
    node_id TEXT,
    operation_id UUID,
    operation_deadline TIMESTAMP WITH TIME ZONE,
    idempotency_key TEXT,
    deleting BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    last_active_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT sandboxes_pkey PRIMARY KEY (id),
    CONSTRAINT sandboxes_status_check CHECK (status IN ('STOPPED', 'STARTING', 'RUNNING', 'STOPPING', 'FAILED')),
    CONSTRAINT sandboxes_session_id_key UNIQUE (session_id),
    CONSTRAINT sandboxes_owner_id_idempotency_key_key UNIQUE (owner_id, idempotency_key),
    CONSTRAINT sandboxes_id_owner_id_key UNIQUE (id, owner_id)
);

CREATE INDEX sandboxes_newest_idx ON sandbox_api.sandboxes (owner_id, created_at, id);

CREATE INDEX sandboxes_metadata_idx ON sandbox_api.sandboxes USING gin (metadata);

CREATE INDEX sandboxes_alive_idx ON sandbox_api.sandboxes (status) WHERE status IN ('STARTING', 'RUNNING', 'STOPPING');

CREATE TABLE sandbox_api.executions (
    id UUID NOT NULL,
    owner_id UUID NOT NULL,
    sandbox_id UUID NOT NULL,
    session_id TEXT,
    kind TEXT NOT NULL,
    client_execution_id TEXT,
    code BYTEA NOT NULL,
    status TEXT NOT NULL,
    exit_code INTEGER,
    stdout BYTEA DEFAULT '' NOT NULL,
    stderr BYTEA DEFAULT '' NOT NULL,
    output_truncated BOOLEAN DEFAULT false NOT NULL,
    results BYTEA DEFAULT '[]' NOT NULL,
    error BYTEA,
    execution_count INTEGER,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    duration_ms FLOAT,
    last_seq INTEGER DEFAULT 0 NOT NULL,
    interpreter_restarted BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT executions_pkey PRIMARY KEY (id),
    CONSTRAINT executions_kind_check CHECK (kind IN ('CODE', 'INSTALL')),
    CONSTRAINT executions_status_check CHECK (status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'INTERRUPTED', 'LOST')),
    CONSTRAINT executions_sandbox_id_owner_id_fkey FOREIGN KEY(sandbox_id, owner_id) REFERENCES sandbox_api.sandboxes (id, owner_id) ON DELETE CASCADE,
    CONSTRAINT executions_sandbox_id_client_execution_id_key UNIQUE (sandbox_id, client_execution_id)
);

CREATE INDEX executions_newest_idx ON sandbox_api.executions (sandbox_id, created_at, id);

CREATE INDEX executions_unended_idx ON sandbox_api.executions (owner_id) WHERE status IN ('QUEUED', 'RUNNING');

CREATE INDEX executions_finished_idx ON sandbox_api.executions (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE sandbox_api.packages (
    sandbox_id UUID NOT NULL,
    name TEXT NOT NULL,
    owner_id UUID NOT NULL,
    version TEXT NOT NULL,
    CONSTRAINT packages_pkey PRIMARY KEY (sandbox_id, name),
    CONSTRAINT packages_sandbox_id_owner_id_fkey FOREIGN KEY(sandbox_id, owner_id) REFERENCES sandbox_api.sandboxes (id, owner_id) ON DELETE CASCADE
);

CREATE TABLE sandbox_api.leases (
    name TEXT NOT NULL,
    holder TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (name)
);

ALTER TABLE sandbox_api.sandboxes ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON sandbox_api.sandboxes FROM PUBLIC, anon, authenticated;

ALTER TABLE sandbox_api.executions ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON sandbox_api.executions FROM PUBLIC, anon, authenticated;

ALTER TABLE sandbox_api.packages ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON sandbox_api.packages FROM PUBLIC, anon, authenticated;

ALTER TABLE sandbox_api.leases ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON sandbox_api.leases FROM PUBLIC, anon, authenticated;

ALTER TABLE sandbox_api.alembic_version ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON sandbox_api.alembic_version FROM PUBLIC, anon, authenticated;

ALTER TABLE sandbox_api.sandboxes FORCE ROW LEVEL SECURITY;

CREATE POLICY sandboxes_service ON sandbox_api.sandboxes TO service_role USING (true) WITH CHECK (true);

ALTER TABLE sandbox_api.executions FORCE ROW LEVEL SECURITY;

CREATE POLICY executions_service ON sandbox_api.executions TO service_role USING (true) WITH CHECK (true);

ALTER TABLE sandbox_api.packages FORCE ROW LEVEL SECURITY;

CREATE POLICY packages_service ON sandbox_api.packages TO service_role USING (true) WITH CHECK (true);

ALTER TABLE sandbox_api.leases FORCE ROW LEVEL SECURITY;

CREATE POLICY leases_service ON sandbox_api.leases TO service_role USING (true) WITH CHECK (true);

CREATE POLICY sandboxes_owner ON sandbox_api.sandboxes TO authenticated USING (owner_id = (SELECT auth.uid())) WITH CHECK (owner_id = (SELECT auth.uid()));

CREATE POLICY executions_owner ON sandbox_api.executions TO authenticated USING (owner_id = (SELECT auth.uid())) WITH CHECK (owner_id = (SELECT auth.uid()));

CREATE POLICY packages_owner ON sandbox_api.packages TO authenticated USING (owner_id = (SELECT auth.uid())) WITH CHECK (owner_id = (SELECT auth.uid()));

REVOKE ALL ON SCHEMA sandbox_api FROM PUBLIC, anon;

GRANT USAGE ON SCHEMA sandbox_api TO authenticated, service_role;

GRANT SELECT, INSERT, UPDATE, DELETE ON sandbox_api.sandboxes, sandbox_api.executions, sandbox_api.packages, sandbox_api.leases TO service_role;

GRANT SELECT (id, owner_id, name, status, status_reason, image, metadata, environment_names, idle_timeout_seconds, lifetime_seconds, session_id, node_id, operation_id, operation_deadline, idempotency_key, deleting, created_at, updated_at, started_at, last_active_at), INSERT (id, owner_id, name, status, image, metadata, environment_encrypted, environment_names, idle_timeout_seconds, lifetime_seconds, idempotency_key, deleting), UPDATE (name, status, status_reason, metadata, idle_timeout_seconds, lifetime_seconds, session_id, node_id, operation_id, operation_deadline, deleting, updated_at, started_at, last_active_at), DELETE ON sandbox_api.sandboxes TO authenticated;

GRANT SELECT, INSERT (id, owner_id, sandbox_id, session_id, kind, client_execution_id, code, status) ON sandbox_api.executions TO authenticated;

GRANT SELECT ON sandbox_api.packages TO authenticated;

INSERT INTO sandbox_api.alembic_version (version_num) VALUES ('20261123180000') RETURNING sandbox_api.alembic_version.version_num;
