"""PostgreSQL's SQLSTATE codes, sorted by what they mean for a writer.

A code of five characters begins with its class of two: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from psycopg2.errorcodes import (
    INSUFFICIENT_PRIVILEGE,
    INTERNAL_ERROR,
    LOCK_NOT_AVAILABLE,
    QUERY_CANCELED,
    READ_ONLY_SQL_TRANSACTION,
)

# Connection exception, operator intervention (shutdown, startup), system error.
_AWAY = ("08", "57P", "58")

# Insufficient resources, a server that has become a standby or read-only, a role that may no longer do what it has to,
# and an internal error, as of a cluster that is moving the table.
_UNAVAILABLE = (*_AWAY, "53", READ_ONLY_SQL_TRANSACTION, INSUFFICIENT_PRIVILEGE, INTERNAL_ERROR)

# Data exception, integrity constraint violation, program limit exceeded, and a lock that took too long.
_ROW = ("22", "23", "54", LOCK_NOT_AVAILABLE)

# Transaction rollback (serialization failure, deadlock), and a statement that an operator canceled.
_RETRYABLE = ("40", QUERY_CANCELED)


def is_unavailable(sqlstate: str) -> bool:
    """Return whether the server, and not the statement, is at fault."""
    return sqlstate.startswith(_UNAVAILABLE)


def is_of_node(sqlstate: str) -> bool:
    """Return whether a server that still keeps the connection has lost another one that it works with."""
    return sqlstate.startswith(_AWAY)


def is_row_error(sqlstate: str) -> bool:
    """Return whether some row of the statement, and nothing else, is at fault."""
    return sqlstate.startswith(_ROW)


def is_retryable(sqlstate: str) -> bool:
    """Return whether the same statement may well succeed at the next attempt."""
    return sqlstate.startswith(_RETRYABLE)
