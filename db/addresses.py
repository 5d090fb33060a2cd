"""How the database's address may be written, and what its writing says of the server."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from db.errors import AddressError

SCHEMES = ("postgres", "postgresql", "postgresql+asyncpg")
POOLER_PORT = 6543
"""Supabase's transaction pooler listens here."""

# What other clients put into an address for themselves; a server would refuse it.
FOREIGN_PARAMETERS = frozenset(
    {"pgbouncer", "connection_limit", "pool_timeout", "schema", "supa", "statement_cache_size"}
)


@dataclass(frozen=True, slots=True)
class Address:
    """A database's address, as asyncpg takes it."""

    dsn: str
    pooler: bool
    """Whether a transaction pooler answers, so that nothing may stay on a connection."""

    def __repr__(self) -> str:
        """Leave the password out of logs and tracebacks."""
        return f"Address({urlsplit(self.dsn).hostname or 'local'!r}, pooler={self.pooler})"


def parse_address(url: str) -> Address:
    """Read `postgres://`, `postgresql://` or `postgresql+asyncpg://`, a socket in `?host=` too.

    Raises `AddressError`, whose message has no password in it.
    """
    try:
        parts = urlsplit(url)
    except ValueError as fault:
        raise AddressError("The database's address is no URL.") from fault
    if parts.scheme not in SCHEMES:
        raise AddressError(
            f"The database's address begins with {parts.scheme!r}: use postgresql://."
        )
    parameters = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(key, value) for key, value in parameters if key not in FOREIGN_PARAMETERS]
    pooler = ("pgbouncer", "true") in parameters or f":{POOLER_PORT}" in parts.netloc.rpartition(
        "@"
    )[2]
    dsn = urlunsplit(
        ("postgresql", parts.netloc, parts.path, urlencode(kept, quote_via=quote, safe="/"), "")
    )
    return Address(dsn, pooler)
