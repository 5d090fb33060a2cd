"""Word of every change of a sandbox, for the processes that listen.

Revision 20261128210000, after 20261124090000.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128210000"
down_revision: str | None = "20261124090000"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "sandbox_api"

# The owner alone: whoever listens looks for the rest with the owner's rights. A transaction
# that changes many sandboxes of one owner tells it once.
ANNOUNCE = f"""
CREATE FUNCTION {SCHEMA}.announce_sandbox() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $body$
BEGIN
    PERFORM pg_catalog.pg_notify('{SCHEMA}_sandboxes', coalesce(NEW.owner_id, OLD.owner_id)::text);
    RETURN NULL;
END
$body$
"""
FUNCTION = f"{SCHEMA}.announce_sandbox()"
TABLE = f"{SCHEMA}.sandboxes"


def upgrade() -> None:
    """Make the triggers; what users are not shown changes without a word."""
    op.execute(ANNOUNCE)
    op.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    op.execute(
        f"CREATE TRIGGER announce AFTER INSERT OR DELETE ON {TABLE}"
        f" FOR EACH ROW EXECUTE FUNCTION {FUNCTION}"
    )
    op.execute(
        f"CREATE TRIGGER announce_update AFTER UPDATE ON {TABLE}"
        " FOR EACH ROW WHEN (OLD.updated_at IS DISTINCT FROM NEW.updated_at)"
        f" EXECUTE FUNCTION {FUNCTION}"
    )


def downgrade() -> None:
    """Remove the triggers."""
    op.execute(f"DROP TRIGGER announce_update ON {TABLE}")
    op.execute(f"DROP TRIGGER announce ON {TABLE}")
    op.execute(f"DROP FUNCTION {FUNCTION}")
