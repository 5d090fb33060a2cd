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
# Out of range, not in the character set, no JSON text, NUL in JSON text.
UNSTORABLE_STATES = frozenset({"22003", "22021", "22P02", "22P05"})


@contextmanager
def faults_named() -> Iterator[None]:
    """Raise connection faults and unstorable values by our names, anything else as it is."""
    try:
        yield
    except (exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        if is_unavailable(fault):
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


def is_unavailable(fault: BaseException) -> bool:
    """Whether the same thing, tried again later, may work."""
    if isinstance(fault, OSError | TimeoutError | exc.TimeoutError):
        return True
    if isinstance(fault, exc.DBAPIError):
        return fault.connection_invalidated or _is_passing(fault.orig)
    return _is_passing(fault)


def _is_passing(fault: BaseException | None) -> bool:
    state = _sqlstate(fault)
    if state is not None:
        return state.startswith(PASSING_CLASSES) or state in PASSING_STATES
    # asyncpg says so without a SQLSTATE where it noticed the loss itself.
    return fault is not None and "connection is closed" in str(fault)


def _is_unstorable(fault: BaseException) -> bool:
    if not isinstance(fault, exc.DBAPIError):
        return isinstance(fault, asyncpg.DataError) or _sqlstate(fault) in UNSTORABLE_STATES
    return _sqlstate(fault.orig) in UNSTORABLE_STATES or isinstance(
        fault.orig and fault.orig.__cause__, asyncpg.DataError
    )


def _sqlstate(fault: BaseException | None) -> str | None:
    state = getattr(fault, "sqlstate", None)
    return state if isinstance(state, str) else None
