"""The idempotency keys of erased events, which a create must not use again for 30 days.

The check is a statement that follows the one that writes, in the same transaction. A create with the key of an event
that is being erased waits at the unique index until the erasure is committed. Only what looks after that sees its key.
"""

import hashlib
from collections.abc import Sequence

import psycopg2.extensions
from psycopg2.errorcodes import DIVISION_BY_ZERO

from storage.event import Event

KEY_ERASED = DIVISION_BY_ZERO
"""The SQLSTATE of a check that finds the key of an erased event."""

_EXISTS_NONE = "1 / (count(*) = 0)::int"

# An error, so that the transaction is undone in the round trip that began it.
PREPARE_CHECK = (
    "PREPARE meet_erased_key (text, uuid) AS"  # noqa: S608 - made of constants
    f" SELECT {_EXISTS_NONE} FROM erased_key WHERE customer_id = $1 AND key_hash = $2"
)
CHECK = "EXECUTE meet_erased_key (%s, %s)"
"""The check of one key, after PREPARE_CHECK. Its values are the customer and what `hash_key` returns."""

# By hash alone, since a hash is of the customer too: one look-up in the index each. The customers tell a cluster where
# to look.
_SENT = "FROM erased_key WHERE customer_id = ANY ({}::text[]) AND key_hash = ANY ({}::uuid[])"
PREPARE_CHECKS = f"PREPARE meet_erased_keys (text[], uuid[]) AS SELECT {_EXISTS_NONE} {_SENT.format('$1', '$2')}"
_CHECKS = "EXECUTE meet_erased_keys (%s, %s)"
_FIND = f"SELECT customer_id, replace(key_hash::text, '-', '') {_SENT.format('%s', '%s')}"


def hash_key(customer_id: str, key: str) -> str:
    """Return the hash under which the key of an erased event is kept: a UUID in hexadecimal."""
    return hashlib.sha256(f"{customer_id}\0{key}".encode()).hexdigest()[:32]


def make_check(cursor: psycopg2.extensions.cursor, events: Sequence[Event]) -> bytes:
    """Return the check of the keys of `events`, after PREPARE_CHECKS, as a statement without parameters.

    Args:
        cursor: knows how to quote.
        events: all of them have a key.
    """
    statement: bytes = cursor.mogrify(_CHECKS, _list_keys(events))
    return statement


def find_erased(cursor: psycopg2.extensions.cursor, events: Sequence[Event]) -> list[Event]:
    """Return those of `events`, all of which have a key, whose key is that of an erased event."""
    cursor.execute(_FIND, _list_keys(events))
    found = set(cursor.fetchall())
    return [
        event for event in events if (event.customer_id, hash_key(event.customer_id, event.idempotency_key)) in found
    ]


def _list_keys(events: Sequence[Event]) -> tuple[list[str], str]:
    # psycopg2 refuses to send U+0000, which no stored event has.
    events = [event for event in events if "\0" not in event.customer_id]
    hashes = ",".join([hash_key(event.customer_id, event.idempotency_key) for event in events])
    return list({event.customer_id for event in events}), f"{{{hashes}}}"
