"""Events in PostgreSQL: the table, its migrations, the writer and the searches. Knows nothing of gRPC or protobuf."""

from storage.availability import Availability
from storage.copier import Outcome
from storage.errors import (
    DatabaseUnavailable,
    EventRefused,
    KeyInProgress,
    KeyReused,
    PageTooLarge,
    QueueFull,
    SearchTimedOut,
    StorageError,
    WriteFailed,
)
from storage.event import TEXTS, Event, Found, Page, new_id_and_time
from storage.rows import Row, row
from storage.search import Query, Searches

__all__ = [
    "TEXTS",
    "Availability",
    "DatabaseUnavailable",
    "Event",
    "EventRefused",
    "Found",
    "KeyInProgress",
    "KeyReused",
    "Outcome",
    "Page",
    "PageTooLarge",
    "Query",
    "QueueFull",
    "Row",
    "SearchTimedOut",
    "Searches",
    "StorageError",
    "WriteFailed",
    "new_id_and_time",
    "row",
]
