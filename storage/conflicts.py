"""What is in the table already of a batch that met a unique key: the events themselves, or others under their keys."""

import json
from typing import Any

import psycopg2.extensions

from storage.errors import KeyReused
from storage.event import TEXTS, Event
from storage.model import TIME_FORMAT, AnalyticsEvent

# As Event has them. A session of ours is in UTC.
_AS_TEXT = {"id": "{0}::text", "version_info": "{0}::text"} | dict.fromkeys(
    ("created_at", "updated_at"), f"to_char({{0}}, '{TIME_FORMAT}')"
)
_COLUMNS = ", ".join(_AS_TEXT.get(name, "{0}").format(f'event."{name}"') for name in Event._fields)
_SELECT = f'SELECT {_COLUMNS} FROM "{AnalyticsEvent._meta.table_name}" AS event'  # noqa: S608 - the names are the model's
# Two indexes, hence two statements. PostgreSQL is given the values and makes of them what its columns need.
_BY_ID = _SELECT + " WHERE (event.customer_id, event.id) IN %s"
_BY_KEY = _SELECT + " WHERE (event.customer_id, event.idempotency_key) IN %s AND event.idempotency_key <> ''"


def already_stored(connection: psycopg2.extensions.connection, events: list[Event]) -> dict[str, "Event | KeyReused"]:
    """Of those of `events` that need not be written any more, by their ids, what is to be told.

    That is the event itself when it is there, as after a commit whose answer was lost; under its idempotency key the
    event that was there before, if it is the same in all that its caller sent; KeyReused if it is not.

    Raises:
        psycopg2.Error
    """
    found: list[Event] = []
    with connection.cursor() as cursor:
        cursor.execute(_BY_ID, (tuple((event.customer_id, _uuid(event.id)) for event in events),))
        found += map(Event._make, cursor.fetchall())
        if keys := tuple((event.customer_id, event.idempotency_key) for event in events if event.idempotency_key):
            cursor.execute(_BY_KEY, (keys,))
            found += map(Event._make, cursor.fetchall())
    by_id = {event.id: event for event in found}
    by_key = {(event.customer_id, event.idempotency_key): event for event in found if event.idempotency_key}
    told: dict[str, Event | KeyReused] = {}
    for event in events:
        stored = by_id.get(event.id) or by_key.get((event.customer_id, event.idempotency_key))
        if stored is not None:
            told[event.id] = stored if _same(event, stored) else KeyReused()
    return told


def _uuid(text: str) -> Any:
    return psycopg2.extensions.AsIs(f"'{text}'::uuid")


def _same(event: Event, stored: Event) -> bool:
    """Whether both are the same in all that callers send."""
    return event[:TEXTS] == stored[:TEXTS] and _json(event.version_info) == _json(stored.version_info)


def _json(text: str | None) -> Any:
    # The database prints 1e300 with all of its digits.
    return None if text is None else json.loads(text, parse_int=float)
