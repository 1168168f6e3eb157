"""What a batch that met a unique key finds in the table: its own events, or others with the same idempotency keys.

The database compares them, so that no more than their ids and times are fetched. They may be far larger than what was
sent: in a jsonb, 1e99 has a hundred digits.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2.errors
import psycopg2.extensions

from storage.erased_keys import find_erased
from storage.errors import KeyErased, KeyReused
from storage.event import TEXT_COUNT, Event
from storage.model import TIME_FORMAT, AnalyticsEvent

_TEXTS = Event._fields[:TEXT_COUNT]
_IS_SAME = " AND ".join([f'event."{name}" = sent."{name}"' for name in _TEXTS])
_SENT = ", ".join(f'"{name}"' for name in (*_TEXTS, "version_info", "id"))
_ROW = "(" + ", ".join(["%s"] * TEXT_COUNT) + ", %s::jsonb, %s::uuid)"

# A row may be on the primary's disk alone, as after its restart, while the standby that acknowledged events have to
# reach is away. With this in its list, a SELECT that finds a row commits something after it, and so waits as a write
# does. To lock the row would do the same, but the server's role may not.
_WAIT = (
    "CASE WHEN current_setting('synchronous_standby_names') <> ''"
    " THEN pg_logical_emit_message(true, 'analytics', '') END"
)

# For each event sent, the one stored with its id or key: one look-up in the index each, whatever the statistics say.
_SELECT = f"""
SELECT sent.id::text, event.id::text,
  to_char(event.created_at AT TIME ZONE 'UTC', '{TIME_FORMAT}'),
  to_char(event.updated_at AT TIME ZONE 'UTC', '{TIME_FORMAT}'),
  {_IS_SAME} AND event.version_info IS NOT DISTINCT FROM sent.version_info, {_WAIT}
FROM (VALUES {{rows}}) AS sent ({_SENT})
CROSS JOIN LATERAL (
  SELECT * FROM "{AnalyticsEvent._meta.table_name}" AS stored
  WHERE stored.customer_id = {{customer}} AND {{condition}} LIMIT 1
) AS event
"""  # noqa: S608 - the names are the model's
_BY_ID = "stored.id = sent.id"
_BY_KEY = "stored.idempotency_key = sent.idempotency_key AND stored.idempotency_key <> ''"


def find_conflicts(
    connection: psycopg2.extensions.connection, events: Sequence[Event]
) -> Mapping[str, "Event | KeyReused | KeyErased"]:
    """Return outcomes, by event id, for those of `events` that the table already holds, or held until they were erased.

    An event that is stored itself, as after a commit whose reply was lost, has itself as its outcome. An event whose
    idempotency key is stored has the stored event as its outcome if both are the same in everything a caller sends,
    and KeyReused if they differ. If the event with the key was erased, the outcome is KeyErased.

    What is stored is returned behind a commit that waits for the standbys that a write waits for.

    Raises:
        psycopg2.Error: the database cannot answer.
    """
    # psycopg2 refuses to send U+0000, which no stored event has.
    events = [event for event in events if not any("\0" in (text or "") for text in event[:TEXT_COUNT])]
    by_id = {event.id: event for event in events}
    with_key = [event for event in events if event.idempotency_key]
    outcomes: dict[str, Event | KeyReused | KeyErased] = {}
    with connection.cursor() as cursor:
        if with_key:
            outcomes |= {event.id: KeyErased() for event in find_erased(cursor, with_key)}
        for condition, sent in ((_BY_KEY, with_key), (_BY_ID, events)):
            for sent_id, stored_id, created_at, updated_at, is_same, _ in _find(cursor, condition, sent):
                stored = by_id[sent_id]._replace(id=stored_id, created_at=created_at, updated_at=updated_at)
                outcomes[sent_id] = stored if is_same else KeyReused()
    return outcomes


def _find(cursor: psycopg2.extensions.cursor, condition: str, events: Sequence[Event]) -> list[Any]:
    of_customers: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        of_customers[event.customer_id].append(event)
    if len(of_customers) > 1:
        try:
            return _select(cursor, condition, events, "sent.customer_id", [])
        except psycopg2.errors.FeatureNotSupported:
            pass  # The table is distributed by customer, and a statement must name one.
    return [
        row for customer, sent in of_customers.items() for row in _select(cursor, condition, sent, "%s", [customer])
    ]


def _select(
    cursor: psycopg2.extensions.cursor, condition: str, events: Sequence[Event], customer: str, values: list[Any]
) -> list[Any]:
    rows = ", ".join([_ROW] * len(events))
    sent = [value for event in events for value in (*event[:TEXT_COUNT], event.version_info, event.id)]
    cursor.execute(_SELECT.format(rows=rows, customer=customer, condition=condition), [*sent, *values])
    return list(cursor.fetchall())
