"""Group commit: many callers, one connection, one COPY and one commit for whatever is waiting."""

import asyncio
import io
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

import psycopg2
import psycopg2.extensions
from psycopg2.errorcodes import UNIQUE_VIOLATION

from storage.availability import Availability
from storage.connection import connect, is_lost
from storage.copy_row import COPY_STATEMENT, copy_row
from storage.errors import DatabaseUnavailable, EventRefused, QueueFull, StorageError, WriteFailed
from storage.event import Event

log = logging.getLogger(__name__)

# An acknowledged event is on disk, whatever the default of the database is.
_SESSION = {"synchronous_commit": "on"}

# What the database says of one row, not of the statement: data exception, integrity violation, limit exceeded.
_ROW_ERROR_CLASSES = ("22", "23", "54")


# What may well succeed when it is tried again: serialization failure, deadlock, lock or query given up by an operator.
_RETRYABLE = ("40", "55P03", "57014")


class _Waiting(NamedTuple):
    """What one caller gave: rows that are written together."""

    rows: list[bytes]
    size: int
    outcomes: asyncio.Future[list[StorageError | None]]


class Writer:
    """Stores events. To be used from one event loop, where all of its methods run; the database is kept off it.

    There is no timer: a batch is what has come in while the batch before it was being committed. So an event that
    comes alone is written at once, and the busier the server, the larger its batches.
    """

    def __init__(
        self,
        url: str,
        availability: Availability,
        *,
        max_events: int = 10_000,
        max_bytes: int = 64 << 20,
        max_batch_events: int = 1_000,
        max_batch_bytes: int = 4 << 20,
    ) -> None:
        """Makes a writer that connects at its first batch.

        Args:
            url: the database, as libpq takes it.
            availability: whether to try at all.
            max_events: how many events may wait. Together with those in flight it bounds what a crash can lose,
                all of it unacknowledged.
            max_bytes: how many bytes of rows may wait.
            max_batch_events: how many events of several callers one commit may hold; it bounds how long a later
                event waits.
            max_batch_bytes: at how many bytes of rows a batch is closed.
        """
        self._url = url
        self._availability = availability
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_batch_events = max_batch_events
        self._max_batch_bytes = max_batch_bytes
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._in_flight: list[_Waiting] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = asyncio.Event()
        self._connection: psycopg2.extensions.connection | None = None
        self._batches: SimpleQueue[list[bytes] | None] = SimpleQueue()
        # A daemon, so that a database that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._write_batches, name="writer", daemon=True)
        self._thread.start()
        availability.on_change(self._on_availability)

    async def store(self, event: Event) -> None:
        """Returns once `event` is committed.

        A caller that is cancelled before its event was taken into a batch takes it back; afterwards the event is
        stored all the same.

        Raises:
            QueueFull: too many events are waiting.
            DatabaseUnavailable: the database cannot be reached.
            EventRefused: the database did not accept this event.
            WriteFailed: the database answered with an error that nobody foresaw; the log has it.
        """
        (outcome,) = await self._written([copy_row(event)])
        if outcome is not None:
            raise outcome

    async def store_all(self, events: list[Event]) -> list[bool]:
        """Returns once all of `events` are committed that the database accepts, together: of each, whether it is.

        Raises:
            QueueFull, DatabaseUnavailable, WriteFailed: as `store` does.
        """
        outcomes = await self._written([copy_row(event) for event in events]) if events else []
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, EventRefused):
                raise outcome
        return [outcome is None for outcome in outcomes]

    async def _written(self, rows: list[bytes]) -> list[StorageError | None]:
        """Puts the rows into the queue, waits for their commit, and returns what came of each."""
        if not self._availability.up:
            raise DatabaseUnavailable
        size = sum(map(len, rows))
        if self._waiting_rows + len(rows) > self._max_events or self._waiting_bytes + size > self._max_bytes:
            raise QueueFull
        outcomes: asyncio.Future[list[StorageError | None]] = self._loop.create_future()
        self._waiting.append(_Waiting(rows, size, outcomes))
        self._waiting_rows += len(rows)
        self._waiting_bytes += size
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # Not at once: what else is ready in this turn of the loop joins the batch.
            self._loop.call_soon(self._send_batch)
        return await outcomes

    async def close(self) -> None:
        """Waits until all that was taken in is written, then closes the connection."""
        await self._idle.wait()
        self._batches.put(None)
        await self._closed.wait()

    def _send_batch(self) -> None:
        """Hands what is waiting to the thread, up to the limits of a batch."""
        batch: list[_Waiting] = []
        rows = size = taken = 0
        for waiting in self._waiting:
            if rows and (rows + len(waiting.rows) > self._max_batch_events or size >= self._max_batch_bytes):
                break
            taken += 1
            self._waiting_rows -= len(waiting.rows)
            self._waiting_bytes -= waiting.size
            if not waiting.outcomes.cancelled():
                batch.append(waiting)
                rows += len(waiting.rows)
                size += waiting.size
        del self._waiting[:taken]
        self._in_flight = batch
        if batch:
            self._batches.put([row for waiting in batch for row in waiting.rows])
        else:
            self._busy = False
            self._idle.set()

    def _finish_batch(self, outcomes: list[StorageError | None]) -> None:
        """Tells the callers of the batch in flight how it went, and sends the next one."""
        start = 0
        for waiting in self._in_flight:
            end = start + len(waiting.rows)
            if not waiting.outcomes.done():
                waiting.outcomes.set_result(outcomes[start:end])
            start = end
        self._send_batch()

    def _on_availability(self, up: bool) -> None:
        """Lets nobody wait for a database that is away, not even for a commit that hangs."""
        if up:
            return
        for waiting in (*self._in_flight, *self._waiting):
            if not waiting.outcomes.done():
                waiting.outcomes.set_exception(DatabaseUnavailable())
        self._waiting.clear()
        self._waiting_rows = self._waiting_bytes = 0

    # What follows runs in the thread.

    def _write_batches(self) -> None:
        while (rows := self._batches.get()) is not None:
            outcomes = self._write(rows)
            self._loop.call_soon_threadsafe(self._finish_batch, outcomes)
        if self._connection is not None:
            self._connection.close()
        self._loop.call_soon_threadsafe(self._closed.set)

    def _write(self, rows: list[bytes]) -> list[StorageError | None]:
        """Commits the rows and returns what came of each. If one is refused, halves them until it stands alone."""
        try:
            self._copy(rows)
        except _RowRefused as error:
            if len(rows) == 1:
                log.warning("the database refused an event", extra={"sqlstate": error.sqlstate})
                return [EventRefused()]
            half = len(rows) // 2
            return self._write(rows[:half]) + self._write(rows[half:])
        except DatabaseUnavailable as error:
            log.warning("a batch found no database", extra={"events": len(rows), "reason": str(error)})
            return _each(DatabaseUnavailable, rows)
        except Exception as error:
            # The callers are waiting: each must hear of it, whatever it is.
            state = getattr(error, "pgcode", None)
            log.exception("a batch could not be written", extra={"events": len(rows), "sqlstate": state})
            return _each(WriteFailed, rows)
        return [None] * len(rows)

    def _copy(self, rows: list[bytes]) -> None:
        """Commits the rows in one COPY; tries once more on a new connection if the old one turns out to be lost.

        Raises:
            DatabaseUnavailable, _RowRefused
        """
        lost = False
        if self._connection is not None:
            try:
                self._copy_once(self._connection, rows)
                return
            except DatabaseUnavailable:
                lost = True
                self._connection.close()
                self._connection = None
        self._connection = connect(self._url, "analytics writer", _SESSION)
        try:
            self._copy_once(self._connection, rows)
        except _RowRefused as error:
            if not (lost and error.sqlstate == UNIQUE_VIOLATION):
                raise
            # The ids are ours and new. A batch is one transaction, so all of it was committed the first time, and
            # only the answer was lost with the connection.
            log.info("a batch had been committed when its connection was lost", extra={"events": len(rows)})

    def _copy_once(self, connection: psycopg2.extensions.connection, rows: list[bytes]) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(COPY_STATEMENT, io.BytesIO(b"".join(rows)), size=1 << 20)
        except psycopg2.Error as error:
            if is_lost(connection, error) or (error.pgcode or "").startswith(_RETRYABLE):
                raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None
            if (error.pgcode or "").startswith(_ROW_ERROR_CLASSES):
                raise _RowRefused(error.pgcode or "") from None
            raise


class _RowRefused(Exception):
    """At least one of the rows was not accepted. Carries no text of the database's, which may quote the row."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def _each(error: Callable[[], StorageError], rows: list[bytes]) -> list[StorageError | None]:
    """An error of its own for each row: raised in many callers, one shared error would collect all their frames."""
    return [error() for _ in rows]
