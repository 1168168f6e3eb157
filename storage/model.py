"""The one table. Peewee owns its shape; the writer's and the searches' statements are built from it."""

import hashlib
from typing import Any

from peewee import SQL, CompositeKey, DateTimeField, Field, Model, TextField, UUIDField

from storage.event import Event

TIME_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
"""How PostgreSQL's to_char makes of an instant, in a session in UTC, what `storage.event.Event.created_at` has."""


class TimestampField(DateTimeField):
    """An instant, which PostgreSQL keeps in UTC whatever the session's time zone."""

    field_type = "TIMESTAMPTZ"


class JsonbField(Field):
    """JSON that crosses the border of storage as text: it is written as it came and not searched."""

    field_type = "JSONB"


class AnalyticsEvent(Model):
    """A row of the events table: `storage.event.Event` and the key that searches go by."""

    customer_id = TextField()
    id = UUIDField()
    created_at = TimestampField()
    updated_at = TimestampField()
    entity_type = TextField()
    entity_id = TextField()
    user_id = TextField()
    recording_id = TextField()
    event_type = TextField()
    tool_signature = TextField()
    event_id = TextField()
    message = TextField()
    javascript_local_time = TextField()
    apex_local_time = TextField()
    event_environment_path = TextField()
    name_parser_event_id = TextField()
    recommendation_model_event_id = TextField()
    version_info = JsonbField(null=True)
    search_key = UUIDField()
    idempotency_key = TextField(constraints=[SQL("DEFAULT ''")])

    class Meta:
        """Every key begins with the customer, so that the table can be distributed by customer."""

        table_name = "analytics_event"
        primary_key = CompositeKey("customer_id", "id")


AnalyticsEvent.add_index(
    AnalyticsEvent.index(
        AnalyticsEvent.customer_id,
        AnalyticsEvent.search_key,
        AnalyticsEvent.created_at.desc(),
        AnalyticsEvent.id.desc(),
        name="analytics_event_search",
    )
)
# Partial: an event without a key costs it nothing.
AnalyticsEvent.add_index(
    AnalyticsEvent.index(
        AnalyticsEvent.customer_id,
        AnalyticsEvent.idempotency_key,
        unique=True,
        where=AnalyticsEvent.idempotency_key != SQL("''"),
        name="analytics_event_idempotency_key",
    )
)


def search_key(entity_type: str, entity_id: str, user_id: str, recording_id: str) -> str:
    """What a search asks for besides the customer, in 128 bits (hexadecimal), as `AnalyticsEvent.search_key` holds it.

    The ids themselves cannot be indexed: within their limits of 255 characters they may take 4,080 bytes, and an entry
    of a B-tree holds 2,704. U+0000 can part them since no text in PostgreSQL contains it.
    """
    ids = "\0".join((entity_type, entity_id, user_id, recording_id))
    return hashlib.blake2b(ids.encode(), digest_size=16).hexdigest()


def search_key_of(event: Event) -> str:
    """The search key of an event."""
    return search_key(event.entity_type, event.entity_id, event.user_id, event.recording_id)


def columns() -> list[Any]:
    """The fields of the table in the order of its columns."""
    return list(AnalyticsEvent._meta.sorted_fields)
