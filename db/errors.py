"""Conditions of the database that callers can do something about."""


class DatabaseError(Exception):
    """Base of every condition that this layer names; the message says what to do."""


class DatabaseUnavailableError(DatabaseError):
    """The database did not answer, or gave up for a passing reason; trying again is safe.

    Where the connection was lost during the commit, nobody knows whether it was carried out:
    what is tried again has to be idempotent, by an id or a key of the caller's.
    """


class UnstorableValueError(DatabaseError):
    """A text holds NUL or half a surrogate pair, or a number is out of its column's range."""


class TransactionAbortedError(DatabaseError):
    """The caller went on after a failed statement: nothing of the transaction was kept."""


class AddressError(DatabaseError):
    """The database's address can't be read; the message says what is wrong with it."""


class EmbeddedServerError(DatabaseError):
    """The embedded server can't be set up or started; the message says why."""


class MigrationError(DatabaseError):
    """The tables can't be brought up to date; the message says what is in the way."""
