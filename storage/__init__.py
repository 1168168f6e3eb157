"""Events in PostgreSQL: the table, its migrations, the writer and the searches. Knows nothing of gRPC or protobuf."""

from storage.availability import Availability
from storage.errors import (
    DatabaseUnavailable,
    EventRefused,
    PageTooLarge,
    QueueFull,
    SearchTimedOut,
    StorageError,
    WriteFailed,
)
from storage.event import TEXTS, Event, Page, new_id_and_time
from storage.search import Query, Searches
from storage.writer import Writer

__all__ = [
    "TEXTS",
    "Availability",
    "DatabaseUnavailable",
    "Event",
    "EventRefused",
    "Page",
    "PageTooLarge",
    "Query",
    "QueueFull",
    "SearchTimedOut",
    "Searches",
    "StorageError",
    "WriteFailed",
    "Writer",
    "new_id_and_time",
]
