"""Group commit: the queue in which many callers wait for one commit."""

import asyncio
import threading
from queue import SimpleQueue
from typing import NamedTuple

from storage.availability import Availability
from storage.copier import Copier
from storage.copy_row import copy_row
from storage.errors import DatabaseUnavailable, EventRefused, QueueFull, StorageError
from storage.event import Event


# PostgreSQL's commit_delay and commit_siblings have the same purpose; there each event would be a transaction still.
# Measured at 4 to 64 callers: up to a tenth more creates a second, with a fifth less of both cores spent on each.
_SEVERAL_CALLERS = 4
_GATHERING_SECONDS = 0.005
_GATHERED_EVENTS = 64


class _Waiting(NamedTuple):
    """What one caller gave: rows that are written together."""

    rows: list[bytes]
    size: int
    outcomes: asyncio.Future[list[StorageError | None]]


class Writer:
    """Stores events. To be used from one event loop, where all of its methods run; the database is kept off it.

    An event that comes alone is written at once; the busier the server, the larger its batches. A batch is what has
    come in while the one before it was being committed, and, with several callers about, what comes in the next few
    milliseconds: a commit costs as much as ten events do, and callers who were here a moment ago soon are again.
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
        self._copier = Copier(url)
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
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = asyncio.Event()
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
        elif self._gathering is not None and self._enough():
            self._send_batch()
        return await outcomes

    async def close(self) -> None:
        """Waits until all that was taken in is written, then closes the connection."""
        await self._idle.wait()
        self._batches.put(None)
        await self._closed.wait()

    def _enough(self) -> bool:
        return len(self._waiting) >= self._expected or self._waiting_rows >= _GATHERED_EVENTS

    def _send_batch(self) -> None:
        """Hands what is waiting to the thread, up to the limits of a batch."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
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
        """Tells the callers of the batch in flight how it went, and gathers the next one."""
        start = 0
        for waiting in self._in_flight:
            end = start + len(waiting.rows)
            if not waiting.outcomes.done():
                waiting.outcomes.set_result(outcomes[start:end])
            start = end
        # Those who have just been answered, and those who came meanwhile.
        self._expected = len(self._in_flight) + len(self._waiting)
        if self._expected < _SEVERAL_CALLERS or self._enough():
            self._send_batch()
        else:
            self._gathering = self._loop.call_later(_GATHERING_SECONDS, self._send_batch)

    def _on_availability(self, up: bool) -> None:
        """Lets nobody wait for a database that is away, not even for a commit that hangs."""
        if up:
            return
        for waiting in (*self._in_flight, *self._waiting):
            if not waiting.outcomes.done():
                waiting.outcomes.set_exception(DatabaseUnavailable())
        self._waiting.clear()
        self._waiting_rows = self._waiting_bytes = 0

    def _write_batches(self) -> None:
        """Runs in the thread."""
        while (rows := self._batches.get()) is not None:
            outcomes = self._copier.write(rows)
            self._loop.call_soon_threadsafe(self._finish_batch, outcomes)
        self._copier.close()
        self._loop.call_soon_threadsafe(self._closed.set)
