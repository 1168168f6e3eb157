"""The events table. Peewee owns its shape; the statements that write and search it are built from this model."""

import hashlib
from typing import Any

from peewee import SQL, CompositeKey, DateTimeField, Field, Model, TextField, UUIDField

TIME_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
"""The to_char format of `storage.event.Event.created_at`, of a time AT TIME ZONE 'UTC'.

The sessions of a cluster's other nodes have whatever time zone those nodes have.
"""


class TimestampField(DateTimeField):
    """An instant. PostgreSQL stores it in UTC, whatever the session's time zone."""

    field_type = "TIMESTAMPTZ"


class JsonbField(Field):
    """JSON that storage takes and returns as text and never searches."""

    field_type = "JSONB"


class AnalyticsEvent(Model):
    """A row of the events table: the fields of `storage.event.Event` and the key that searches use."""

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
        """Every unique key begins with the customer, so that the table can be distributed by customer."""

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
# Partial, so that events without a key take no space in it.
AnalyticsEvent.add_index(
    AnalyticsEvent.index(
        AnalyticsEvent.customer_id,
        AnalyticsEvent.idempotency_key,
        unique=True,
        where=AnalyticsEvent.idempotency_key != SQL("''"),
        name="analytics_event_idempotency_key",
    )
)
# Peewee has no words for the parameters of a Bloom filter. For lists: see `storage.listing`.
_FEW, _MANY = (f"text_bloom_ops (n_distinct_per_range = {count}, false_positive_rate = 0.02)" for count in (64, 1024))
AnalyticsEvent.add_index(
    SQL(
        "CREATE INDEX analytics_event_list ON analytics_event USING brin ("
        f"customer_id {_FEW}, created_at, user_id {_MANY}, entity_id {_MANY}, recording_id {_MANY}, "
        f"entity_type {_FEW}, event_type {_FEW}, tool_signature {_FEW}) WITH (pages_per_range = 64)"
    )
)


_EMPTY_HASH = hashlib.blake2b(digest_size=16)


def make_search_key(entity_type: str, entity_id: str, user_id: str, recording_id: str) -> str:
    """Return the search key of an event: 128 bits, in hexadecimal, for all that a search names besides the customer.

    A B-tree entry holds at most 2,704 bytes, and the ids, within their limits of 255 characters, can take 4,080. So
    the index holds their hash. U+0000 separates the ids because no text in PostgreSQL can contain it.
    """
    search_key = _EMPTY_HASH.copy()  # To make one anew takes twice as long.
    search_key.update(f"{entity_type}\0{entity_id}\0{user_id}\0{recording_id}".encode())
    return search_key.hexdigest()


def hash_text(text: str) -> int:
    """Return 64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def list_columns() -> list[Any]:
    """Return the fields of the table in the order of its columns."""
    return list(AnalyticsEvent._meta.sorted_fields)
