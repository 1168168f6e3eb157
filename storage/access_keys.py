"""The table of keys and signers, and the statements that make, list and revoke them. A row is never deleted."""

import contextlib
from datetime import datetime
from typing import Any, NamedTuple

import psycopg2

from storage.connection import connect
from storage.errors import DatabaseUnavailable


class AccessKey(NamedTuple):
    """A key or signer as it is stored. The field names are the column names."""

    id: str
    kind: str
    """ "publishable", "secret" or "signer"."""
    customer_id: str
    secret_hash: bytes | None
    """None of a signer."""
    public_key: str | None
    """PEM. None of a key."""
    algorithm: str | None
    """The one that its tokens are signed by. None of a key."""
    scopes: list[str]
    origins: list[str] | None
    users: list[str] | None
    """None means all users of the customer."""
    events_per_second: int | None
    bytes_per_second: int | None
    note: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


_NAMES = ", ".join(AccessKey._fields)
_INSERT = f"INSERT INTO access_key ({_NAMES}) VALUES ({', '.join(['%s'] * len(AccessKey._fields))})"  # noqa: S608 - of constants
_LIST = f"SELECT {_NAMES} FROM access_key WHERE %s IS NULL OR customer_id = %s ORDER BY customer_id, created_at"  # noqa: S608
FIND = f"SELECT {_NAMES} FROM access_key WHERE id = ANY(%s)"  # noqa: S608 - of constants
EXISTS = "SELECT EXISTS (SELECT FROM access_key)"
# To the hour, so that a key in use does not mean a write for each of its calls.
NOTE_USE = """
UPDATE access_key SET last_used_at = date_trunc('hour', now())
WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < date_trunc('hour', now()))
"""
# The bucket fills up to what a second allows. `now()` is the time at which the statement began.
TAKE = """
WITH bucket AS (
    SELECT least(%(events_rate)s, events + %(events_rate)s * seconds) AS events,
           least(%(bytes_rate)s, bytes + %(bytes_rate)s * seconds) AS bytes
    FROM (SELECT *, greatest(extract(epoch FROM now() - updated_at), 0)::float8 AS seconds
          FROM access_rate WHERE key_id = %(key_id)s FOR UPDATE) AS filled
)
UPDATE access_rate
SET events = bucket.events - least(bucket.events, %(events)s),
    bytes = bucket.bytes - least(bucket.bytes, %(bytes)s),
    updated_at = greatest(now(), updated_at)
FROM bucket WHERE key_id = %(key_id)s
RETURNING least(bucket.events, %(events)s), least(bucket.bytes, %(bytes)s)
"""
FILL = """
INSERT INTO access_rate (key_id, events, bytes, updated_at) VALUES (%(key_id)s, %(events_rate)s, %(bytes_rate)s, now())
ON CONFLICT (key_id) DO NOTHING
"""
_LIMIT = """
UPDATE access_key SET events_per_second = coalesce(%s, events_per_second),
    bytes_per_second = coalesce(%s, bytes_per_second)
WHERE id = %s RETURNING id
"""
_REVOKE = "UPDATE access_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s RETURNING id"


def make_access_key(row: tuple[Any, ...]) -> AccessKey:
    """Return the row of a statement that selects all columns."""
    key = AccessKey(*row)
    return key if key.secret_hash is None else key._replace(secret_hash=bytes(key.secret_hash))


def insert_key(url: str, key: AccessKey) -> None:
    """Store a new key or signer. Raises as `_run` does."""
    _run(url, _INSERT, key)


def list_keys(url: str, customer_id: str | None = None) -> list[AccessKey]:
    """Return all keys, or those of a customer. Raises as `_run` does."""
    return [make_access_key(row) for row in _run(url, _LIST, (customer_id, customer_id))]


def limit_key(url: str, key_id: str, events_per_second: int | None, bytes_per_second: int | None) -> bool:
    """Change what a key or signer may write a second. None leaves a limit as it is.

    Return whether there is one of that id. Raises as `_run` does.
    """
    return bool(_run(url, _LIMIT, (events_per_second, bytes_per_second, key_id)))


def revoke_key(url: str, key_id: str) -> bool:
    """Revoke a key or signer for good, and return whether there is one of that id. Raises as `_run` does."""
    return bool(_run(url, _REVOKE, (key_id,)))


def has_keys(url: str) -> bool:
    """Return whether there has ever been a key or signer. Raises as `_run` does."""
    return bool(_run(url, EXISTS, ())[0][0])


def _run(url: str, sql: str, values: tuple[Any, ...]) -> list[Any]:
    """Execute a statement and return its rows.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        psycopg2.Error: it refuses the statement.
    """
    with contextlib.closing(connect(url, "analytics access", {})) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(sql, values)
        except psycopg2.OperationalError as error:
            raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None
        return list(cursor.fetchall()) if cursor.description else []
