"""The records: tables, sessions that carry a tenant's rights, repositories, migrations."""
