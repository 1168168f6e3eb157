"""Events that are put into the database behind the server's back."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import psycopg2

from storage.connection import connect
from storage.event import Event, make_id_and_time
from storage.rows import COPY_STATEMENT, encode_row

_REQUIRED = {"user_id": "user", "recording_id": "recording", "event_type": "view", "entity_type": "lead"}


def make_event(customer: str, **fields: Any) -> Event:
    """Return an event of now."""
    event_id, created_at = make_id_and_time()
    texts = dict.fromkeys(Event._fields, "") | _REQUIRED | {"customer_id": customer, "entity_id": "entity"}
    others = {"version_info": None, "id": event_id, "created_at": created_at, "updated_at": created_at}
    return Event(**{**texts, **others, **fields})


def insert(database_url: str, *events: Event) -> list[str]:
    """Store events as they are, and return their ids."""
    with contextlib.closing(connect(database_url, "test", {})) as connection, connection.cursor() as cursor:
        cursor.copy_expert(COPY_STATEMENT, io.BytesIO(b"".join(encode_row(event).line for event in events)))
    return [event.id for event in events]


@contextlib.contextmanager
def uncommitted(url: str, event: Event) -> Iterator[Any]:
    """Store an event, and yield the connection on which its commit is still to come."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.copy_expert(COPY_STATEMENT, io.BytesIO(encode_row(event).line))
        yield connection
