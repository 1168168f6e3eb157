"""What a batch that met a unique key finds in the table: its own events, or others with the same idempotency keys."""

import json
from typing import Any

import psycopg2.extensions

from storage.errors import KeyReused
from storage.event import TEXT_COUNT, Event
from storage.model import TIME_FORMAT, AnalyticsEvent

# Columns in the form of `Event`, for a session in UTC.
_AS_TEXT = {"id": "{0}::text", "version_info": "{0}::text"} | dict.fromkeys(
    ("created_at", "updated_at"), f"to_char({{0}}, '{TIME_FORMAT}')"
)
_COLUMNS = ", ".join(_AS_TEXT.get(name, "{0}").format(f'event."{name}"') for name in Event._fields)
_SELECT = f'SELECT {_COLUMNS} FROM "{AnalyticsEvent._meta.table_name}" AS event'  # noqa: S608 - the names are the model's
# One statement for each of the two indexes.
_BY_ID = _SELECT + " WHERE (event.customer_id, event.id) IN %s"
_BY_KEY = _SELECT + " WHERE (event.customer_id, event.idempotency_key) IN %s AND event.idempotency_key <> ''"


def find_conflicts(connection: psycopg2.extensions.connection, events: list[Event]) -> dict[str, "Event | KeyReused"]:
    """Return outcomes, by event id, for those of `events` that the table already holds.

    An event that is stored itself, as after a commit whose reply was lost, has itself as its outcome. An event whose
    idempotency key is stored has the stored event as its outcome if both are the same in everything a caller sends,
    and KeyReused if they differ.

    Raises:
        psycopg2.Error: the database cannot answer.
    """
    found: list[Event] = []
    with connection.cursor() as cursor:
        cursor.execute(_BY_ID, (tuple((event.customer_id, _as_uuid(event.id)) for event in events),))
        found += map(Event._make, cursor.fetchall())
        if keys := tuple((event.customer_id, event.idempotency_key) for event in events if event.idempotency_key):
            cursor.execute(_BY_KEY, (keys,))
            found += map(Event._make, cursor.fetchall())
    by_id = {event.id: event for event in found}
    by_key = {(event.customer_id, event.idempotency_key): event for event in found if event.idempotency_key}
    outcomes: dict[str, Event | KeyReused] = {}
    for event in events:
        stored = by_id.get(event.id) or by_key.get((event.customer_id, event.idempotency_key))
        if stored is not None:
            outcomes[event.id] = stored if _is_same(event, stored) else KeyReused()
    return outcomes


def _as_uuid(text: str) -> Any:
    return psycopg2.extensions.AsIs(f"'{text}'::uuid")


def _is_same(event: Event, stored: Event) -> bool:
    """Return whether both are equal in everything that a caller sends."""
    return event[:TEXT_COUNT] == stored[:TEXT_COUNT] and _parse(event.version_info) == _parse(stored.version_info)


def _parse(text: str | None) -> Any:
    # jsonb prints 1e300 with all its digits, so integers are compared as floats too.
    return None if text is None else json.loads(text, parse_int=float)
