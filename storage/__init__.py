"""Events in PostgreSQL: the table, its migrations, and the store that writes and searches it.

Storage is given rows and returns outcomes. It knows nothing of gRPC, of protobuf, or of who waits for a commit.
"""

from storage.erasure import Erasure, Receipt
from storage.erasures import Erasures
from storage.errors import (
    CommitsWait,
    DatabaseFull,
    DatabaseUnavailable,
    EventRefused,
    KeyErased,
    KeyInProgress,
    KeyReused,
    NodeUnavailable,
    PageTooLarge,
    PositionLost,
    PrivilegesMissing,
    SearchTimedOut,
    StorageError,
    SummaryTooLarge,
    TooManyBlocked,
    TooManyErasures,
    TooManyLookups,
    TooManySearches,
    UnfitDatabase,
    UserBlocked,
    WriteFailed,
)
from storage.event import TEXT_COUNT, Event, Found, Outcome, Page, Place, Query, make_id_and_time, make_ids_and_times
from storage.export import Export, ExportQuery, Step
from storage.listing import Listing
from storage.refusal import Refusal, RefusalQuery
from storage.refusals import Refusals
from storage.replica import ReplicaExport
from storage.rows import Row, encode_row, encode_rows
from storage.selection import ListQuery
from storage.snapshot import Snapshot, WatchPosition
from storage.store import EventStore, Lane
from storage.summary import Group, Summary, SummaryQuery
from storage.watching import Watched

__all__ = [
    "TEXT_COUNT",
    "CommitsWait",
    "DatabaseFull",
    "DatabaseUnavailable",
    "Erasure",
    "Erasures",
    "Event",
    "EventRefused",
    "EventStore",
    "Export",
    "ExportQuery",
    "Found",
    "Group",
    "KeyErased",
    "KeyInProgress",
    "KeyReused",
    "Lane",
    "ListQuery",
    "Listing",
    "NodeUnavailable",
    "Outcome",
    "Page",
    "PageTooLarge",
    "Place",
    "PositionLost",
    "PrivilegesMissing",
    "Query",
    "Receipt",
    "Refusal",
    "RefusalQuery",
    "Refusals",
    "ReplicaExport",
    "Row",
    "SearchTimedOut",
    "Snapshot",
    "Step",
    "StorageError",
    "Summary",
    "SummaryQuery",
    "SummaryTooLarge",
    "TooManyBlocked",
    "TooManyErasures",
    "TooManyLookups",
    "TooManySearches",
    "UnfitDatabase",
    "UserBlocked",
    "WatchPosition",
    "Watched",
    "WriteFailed",
    "encode_row",
    "encode_rows",
    "make_id_and_time",
    "make_ids_and_times",
]
