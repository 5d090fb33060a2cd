-- Written by `python -m db.export`: change db/migrations and write it again.

CREATE SCHEMA IF NOT EXISTS sandbox_api;

-- Running upgrade 20261124090000 -> 20261128210000

CREATE FUNCTION sandbox_api.announce_sandbox() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $body$
BEGIN
    PERFORM pg_catalog.pg_notify('sandbox_api_sandboxes', coalesce(NEW.owner_id, OLD.owner_id)::text);
    RETURN NULL;
END
$body$;

REVOKE ALL ON FUNCTION sandbox_api.announce_sandbox() FROM PUBLIC;

CREATE TRIGGER announce AFTER INSERT OR DELETE ON sandbox_api.sandboxes FOR EACH ROW EXECUTE FUNCTION sandbox_api.announce_sandbox();

CREATE TRIGGER announce_update AFTER UPDATE ON sandbox_api.sandboxes FOR EACH ROW WHEN (OLD.updated_at IS DISTINCT FROM NEW.updated_at) EXECUTE FUNCTION sandbox_api.announce_sandbox();

UPDATE sandbox_api.alembic_version SET version_num='20261128210000' WHERE sandbox_api.alembic_version.version_num = '20261124090000';
