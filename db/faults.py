"""The one place where a driver's errors become conditions of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy import exc

from db.errors import DatabaseUnavailableError, UnstorableValueError

# Classes of SQLSTATE (PostgreSQL's manual, appendix A) that pass by themselves: connection,
# resources, the operator's intervention.
PASSING_CLASSES = ("08", "53", "57")
# Read-only (a standby just now), serialization, deadlock, lock not available.
PASSING_STATES = frozenset({"25006", "40001", "40P01", "55P03"})
# The connection's own end: by its loss, or by the server's shutdown.
LOST_CLASSES = ("08", "57P")
# Out of range, not in the character set, no JSON text, NUL in JSON text.
UNSTORABLE_STATES = frozenset({"22003", "22021", "22P02", "22P05"})


@contextmanager
def faults_named() -> Iterator[None]:
    """Raise connection faults and unstorable values by our names, anything else as it is."""
    try:
        yield
    except (
        exc.SQLAlchemyError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as fault:
        if _is_unavailable(fault):
            raise DatabaseUnavailableError(
                "The database does not answer just now. Try again in a moment."
            ) from fault
        if _is_unstorable(fault):
            raise UnstorableValueError(
                "A value can't be stored: it holds NUL or half a character, or is out of range."
            ) from fault
        raise
    except (OSError, TimeoutError) as fault:
        raise DatabaseUnavailableError(
            "The database can't be reached just now. Try again in a moment."
        ) from fault


def is_lost(fault: BaseException) -> bool:
    """Whether this is how a connection of the driver's tells that it has ended."""
    # asyncpg hears of a shutdown between two statements, and stumbles over it in the next.
    return isinstance(fault, asyncpg.InternalClientError) or (_sqlstate(fault) or "").startswith(
        LOST_CLASSES
    )


def _is_unavailable(fault: Exception) -> bool:
    if isinstance(fault, exc.TimeoutError):
        # No connection of the pool's became free.
        return True
    if isinstance(fault, exc.DBAPIError):
        return fault.connection_invalidated or _is_passing(fault.orig)
    return _is_passing(fault)


def _is_passing(fault: BaseException | None) -> bool:
    if fault is None:
        return False
    state = _sqlstate(fault) or ""
    if state.startswith(PASSING_CLASSES) or state in PASSING_STATES:
        return True
    # asyncpg says these without a SQLSTATE, and SQLAlchemy in words of its own.
    cause = fault if fault.__cause__ is None else fault.__cause__
    return is_lost(fault) or is_lost(cause) or "connection is closed" in str(fault)


def _is_unstorable(fault: Exception) -> bool:
    # SQLAlchemy wraps the driver's error twice; what it can't encode has no SQLSTATE.
    inner = fault.orig if isinstance(fault, exc.DBAPIError) else fault
    return inner is not None and (
        _sqlstate(inner) in UNSTORABLE_STATES
        or isinstance(inner, asyncpg.DataError)
        or isinstance(inner.__cause__, asyncpg.DataError)
    )


def _sqlstate(fault: BaseException) -> str | None:
    state = getattr(fault, "sqlstate", None)
    return state if isinstance(state, str) else None
