"""Events in PostgreSQL: the table, its migrations, and the store that writes and searches it.

Storage is given rows and returns outcomes. It knows nothing of gRPC, of protobuf, or of who waits for a commit.
"""

from storage.errors import (
    DatabaseUnavailable,
    EventRefused,
    KeyInProgress,
    KeyReused,
    PageTooLarge,
    PrivilegesMissing,
    SearchTimedOut,
    StorageError,
    TooManyLookups,
    TooManySearches,
    WriteFailed,
)
from storage.event import TEXT_COUNT, Event, Found, Outcome, Page, Query, make_id_and_time, make_ids_and_times
from storage.rows import Row, encode_row, encode_rows
from storage.store import EventStore, Lane

__all__ = [
    "TEXT_COUNT",
    "DatabaseUnavailable",
    "Event",
    "EventRefused",
    "EventStore",
    "Found",
    "KeyInProgress",
    "KeyReused",
    "Lane",
    "Outcome",
    "Page",
    "PageTooLarge",
    "PrivilegesMissing",
    "Query",
    "Row",
    "SearchTimedOut",
    "StorageError",
    "TooManyLookups",
    "TooManySearches",
    "WriteFailed",
    "encode_row",
    "encode_rows",
    "make_id_and_time",
    "make_ids_and_times",
]
