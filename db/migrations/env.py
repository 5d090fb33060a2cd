"""What Alembic runs for every command: our tables, our schema, the connection handed in."""

from alembic import context
from sqlalchemy import Connection, text

from db.tables import SCHEMA, metadata


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Compare our schema only: the others are Supabase's and the owner's."""
    return kind != "schema" or name == SCHEMA


def run_offline() -> None:
    """Print the statements instead of running them."""
    context.configure(
        dialect_name="postgresql",
        # The default one doubles percent signs.
        dialect_opts={"paramstyle": "named"},
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        literal_binds=True,
        transactional_ddl=False,
    )
    with context.begin_transaction():
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        context.run_migrations()


def run_online(connection: Connection) -> None:
    """Run in the caller's transaction, which holds the lock."""
    # A user of our schema's name has it as the default one, and Alembic then leaves it out.
    connection.dialect.default_schema_name = "public"
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=is_ours,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online(context.config.attributes["connection"])
