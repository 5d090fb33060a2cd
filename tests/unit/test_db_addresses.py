"""Addresses of a database are taken as people and platforms write them."""

import pytest

from db.addresses import parse_address
from db.errors import AddressError


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_schemes(scheme: str) -> None:
    """Every usual scheme means the same server."""
    address = parse_address(f"{scheme}://user:p%40ss@db.example:5432/app?sslmode=require")

    assert address.dsn == "postgresql://user:p%40ss@db.example:5432/app?sslmode=require"
    assert not address.pooler


def test_socket_folder() -> None:
    """A socket's folder stays in the address."""
    address = parse_address("postgresql://app@/app?host=/run/db")

    assert address.dsn == "postgresql://app@/app?host=/run/db"


@pytest.mark.parametrize(
    "url",
    [
        "postgres://postgres.ref:pw@pooler.example:6543/postgres",
        "postgres://postgres:pw@db.example:5432/postgres?pgbouncer=true&connection_limit=1",
    ],
)
def test_pooler(url: str) -> None:
    """A transaction pooler is told by its port or by the usual parameter, which is left out."""
    address = parse_address(url)

    assert address.pooler
    assert "pgbouncer" not in address.dsn
    assert "connection_limit" not in address.dsn


@pytest.mark.parametrize("url", ["", "mysql://u:secret@h/d", "host=/tmp", "postgres://[::1/x"])
def test_refused(url: str) -> None:
    """What is no address of Postgres is refused without telling the password."""
    with pytest.raises(AddressError) as refused:
        parse_address(url)

    assert "secret" not in str(refused.value)


def test_password_is_not_shown() -> None:
    """An address in a log or a traceback has no password in it."""
    shown = repr(parse_address("postgresql://user:secret@db.example/app"))

    assert "secret" not in shown
