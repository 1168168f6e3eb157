"""How large commits are, how long they take, and what becomes of their events."""

from collections.abc import Sequence

from server.ingest.write_queue import Group
from server.metrics.catalog import (
    COMMIT_BYTES,
    COMMIT_EVENTS,
    COMMIT_SECONDS,
    EVENTS_FAILED,
    EVENTS_REPLAYED,
    EVENTS_STORED,
)
from server.metrics.names import name_type
from storage import (
    CommitsWait,
    DatabaseFull,
    DatabaseUnavailable,
    EventRefused,
    KeyErased,
    KeyInProgress,
    KeyReused,
    NodeUnavailable,
    Outcome,
    StorageError,
    UserBlocked,
    WriteFailed,
)

_ERRORS = (
    CommitsWait,
    DatabaseFull,
    DatabaseUnavailable,
    EventRefused,
    KeyErased,
    KeyInProgress,
    KeyReused,
    NodeUnavailable,
    UserBlocked,
    WriteFailed,
)


class CommitMeter:
    """Counts and measures the commits of one lane."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._seconds = COMMIT_SECONDS.find(lane)
        self._events = COMMIT_EVENTS.find(lane)
        self._bytes = COMMIT_BYTES.find(lane)
        EVENTS_STORED.begin(lane)
        EVENTS_REPLAYED.begin(lane)
        for each in _ERRORS:
            EVENTS_FAILED.begin(lane, name_type(each))

    def count(self, group: Group, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Count a commit.

        Args:
            group: what it had.
            outcomes: what became of each of the rows.
            seconds: how long it took.
        """
        self._seconds.observe(seconds)
        self._events.observe(len(outcomes))
        self._bytes.observe(group.byte_size)
        stored = replayed = 0
        for row, outcome in zip(group.rows, outcomes, strict=True):
            if isinstance(outcome, StorageError):
                EVENTS_FAILED.add(self._lane, name_type(type(outcome)))
            elif outcome.id == row.event.id:
                stored += 1
            else:
                replayed += 1
        EVENTS_STORED.add(self._lane, amount=stored)
        EVENTS_REPLAYED.add(self._lane, amount=replayed)
