"""A PostgreSQL server of our own, out of a Python package, for one data folder."""

from db.embedded.server import read_url, start, stop

__all__ = ["read_url", "start", "stop"]
