"""Group commit: many callers wait for one commit."""

import asyncio
import threading
import time
from queue import SimpleQueue
from typing import TypeVar, cast

from server.ingest.write_queue import Batch, Queue, Work
from storage.availability import Availability
from storage.copier import Copier, Outcome
from storage.errors import DatabaseUnavailable
from storage.inserter import Inserter

T = TypeVar("T")

# PostgreSQL's commit_delay and commit_siblings have the same purpose; there each event would be a transaction still.
# Measured at 4 to 64 callers: up to a tenth more creates a second, with a fifth less of both cores spent on each.
_SEVERAL_CALLERS = 4
_GATHERING_SECONDS = 0.005
_GATHERED_EVENTS = 64

# So many that wait are made a batch while another is still being committed: the database then need not wait for us.
# Fewer do better to wait for more.
_AHEAD_EVENTS = 256
_MOST_IN_FLIGHT = 2


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
            max_bytes: how many bytes may wait.
            max_batch_events: how many events of several callers one commit may hold; it bounds how long a later
                event waits.
            max_batch_bytes: at how many bytes a batch is closed.
        """
        self._copier = Copier(url)
        self._inserter = Inserter(url)
        self._availability = availability
        self._queue = Queue(
            max_events=max_events,
            max_bytes=max_bytes,
            max_batch_events=max_batch_events,
            max_batch_bytes=max_batch_bytes,
        )
        self._loop = asyncio.get_running_loop()
        self._in_flight: list[Batch] = []
        self._scheduled = False
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0
        self._begun_at = 0.0
        self._batch_seconds = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = asyncio.Event()
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        # A daemon, so that a database that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._write_batches, name="writer", daemon=True)
        self._thread.start()
        availability.on_change(self._on_availability)

    async def write(self, work: Work[T]) -> T:
        """Returns the answer of `work` once its events are committed, those that can be: all in one commit.

        A caller that is cancelled before its work was taken into a batch takes it back; afterwards the events are
        stored all the same.

        Raises:
            QueueFull: too much is waiting.
            DatabaseUnavailable: the database cannot be reached.
            Exception: what `work` raises.
        """
        if not self._availability.up:
            raise DatabaseUnavailable
        answer = self._queue.put(work)
        self._idle.clear()
        if self._gathering is not None:
            if self._enough():
                self._send_batch()
        elif not self._in_flight or self._is_worth_another():
            self._schedule()
        return cast("T", await answer)

    def expected_seconds(self) -> float:
        """In how many seconds about what is given to `write` now will have been written: the queue's length in time."""
        if not self._in_flight:
            return 0.0
        # A commit that takes longer than the one before is the better guess of the next.
        seconds = max(self._batch_seconds, time.monotonic() - self._begun_at)
        return seconds * (len(self._in_flight) + self._queue.batches())

    async def close(self) -> None:
        """Waits until all that was taken in is written, then closes the connection."""
        await self._idle.wait()
        self._inserter.close()
        self._batches.put(None)
        await self._closed.wait()

    def _enough(self) -> bool:
        return len(self._queue.callers) >= self._expected or self._queue.events >= _GATHERED_EVENTS

    def _is_worth_another(self) -> bool:
        return len(self._in_flight) < _MOST_IN_FLIGHT and self._queue.events >= _AHEAD_EVENTS

    def _schedule(self) -> None:
        # Not at once: what else is ready in this turn of the loop joins the batch.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._send_batch)

    def _send_batch(self) -> None:
        """Hands what is waiting to the database, up to the limits of a batch."""
        self._scheduled = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if len(self._in_flight) == _MOST_IN_FLIGHT:
            return
        batch = self._queue.take()
        if batch.rows:
            if not self._in_flight:
                self._begun_at = time.monotonic()
                if len(batch.rows) == 1 and self._inserter.is_ready():
                    self._in_flight.append(batch)
                    self._inserting = asyncio.create_task(self._insert(batch))
                    return
            self._in_flight.append(batch)
            self._batches.put(batch)
            return
        batch.answer([])
        if self._queue.callers:
            self._schedule()
        elif not self._in_flight:
            self._idle.set()

    async def _insert(self, batch: Batch) -> None:
        event = batch.rows[0].event
        is_certain = False
        try:
            is_certain = await self._inserter.insert(event)
        finally:
            if is_certain:
                self._finish_batch(batch, [event])
            else:
                self._batches.put(batch)

    def _finish_batch(self, batch: Batch, outcomes: list[Outcome]) -> None:
        """Tells the callers of a batch how it went, and gathers the next one."""
        now = time.monotonic()
        self._batch_seconds, self._begun_at = now - self._begun_at, now
        self._in_flight.remove(batch)
        if self._is_worth_another():
            # First: to answer for many events takes as long as to commit them.
            self._send_batch()
        batch.answer(outcomes)
        if self._in_flight:
            return
        # Those who have just been answered, and those who came meanwhile.
        self._expected = len(batch.callers) + len(self._queue.callers)
        if self._expected < _SEVERAL_CALLERS or self._enough():
            self._send_batch()
        else:
            self._gathering = self._loop.call_later(_GATHERING_SECONDS, self._send_batch)

    def _on_availability(self, up: bool) -> None:
        """Lets nobody wait for a database that is away, not even for a commit that hangs."""
        if up:
            return
        in_flight = [waiting for batch in self._in_flight for waiting, _ in batch.callers]
        for waiting in (*in_flight, *self._queue.clear()):
            if not waiting.answer.done():
                waiting.answer.set_exception(DatabaseUnavailable())

    def _write_batches(self) -> None:
        """Runs in the thread."""
        while (batch := self._batches.get()) is not None:
            self._loop.call_soon_threadsafe(self._finish_batch, batch, self._copier.write(batch.rows))
        self._copier.close()
        self._loop.call_soon_threadsafe(self._closed.set)
