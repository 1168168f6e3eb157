"""The event store: all that anybody outside of storage needs."""

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING

from storage.availability import Availability
from storage.copy_thread import CopyThread
from storage.daemon_thread import run_in_daemon_thread
from storage.erasures import Erasures
from storage.errors import DatabaseFull, DatabaseUnavailable, UserBlocked
from storage.event import Event, Outcome, Page, Query
from storage.export import Export, ExportQuery
from storage.inserter import Inserter
from storage.listing import Listing
from storage.openblas import limit_threads
from storage.reads import Reads
from storage.refusal import Refusal, RefusalQuery
from storage.refusals import Refusals
from storage.replica import SETTLE_SECONDS, ReplicaExport
from storage.rows import Row
from storage.selection import ListQuery
from storage.snapshot import WatchPosition
from storage.summary import Summary, SummaryQuery
from storage.watching import Watched, Watches

if TYPE_CHECKING:
    from storage.summarizing import Summaries


class Lane(Enum):
    """What rows wait behind: those of the same lane only. Each has a connection of its own for its COPYs."""

    CREATES = auto()
    BATCHES = auto()


class EventStore:
    """The events of all customers in one PostgreSQL database. Belongs to the event loop that creates it.

    During an outage every call fails at once with DatabaseUnavailable, even one whose statement hangs. While commits
    wait for a synchronous standby, those that write fail with CommitsWait, and the others go on.
    """

    def __init__(self, url: str, retention_days: int = 0, read_url: str = "") -> None:
        """Prepare to use a database without connecting yet.

        Args:
            url: a libpq connection URI or string.
            retention_days: how old events become before they are erased. 0 means that they stay.
            read_url: that of a standby for searches, lists and exports, or "".
        """
        self._url = url
        self.availability = Availability(url)
        self.erasures = Erasures(
            url, self.availability, retention_days, settle_seconds=SETTLE_SECONDS if read_url else 0.0
        )
        self.refusals = Refusals(url)
        self._copy_threads = {lane: CopyThread(url) for lane in Lane}
        self._inserter = Inserter(url)
        self.reads = Reads(url, self.availability, read_url)
        self._summaries: Summaries | None = None
        """None before the first summary."""
        self._watches = Watches(url)
        self._loop = asyncio.get_running_loop()
        self._writes: dict[Lane, set[asyncio.Future[list[Outcome]]]] = {lane: set() for lane in Lane}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to watch the database, and connect ahead of the first event."""
        self._tasks = [asyncio.create_task(self.availability.watch()), asyncio.create_task(self._abandon_on_outage())]
        if self.reads.replica is not None:
            self._tasks.append(asyncio.create_task(self.reads.replica.watch()))
        await self._inserter.connect()
        await self.erasures.start()

    def write(self, rows: list[Row], lane: Lane = Lane.CREATES) -> "asyncio.Future[list[Outcome]]":
        """Commit the rows in one transaction and return a future of their outcomes, in order.

        The rows are handed over before this returns, so the database works on them while the caller goes on. A row that
        the database refuses does not affect the others. A lone row is an INSERT on the event loop, which wakes no
        thread; anything else is a COPY. The future never raises: what goes wrong is an outcome.

        Args:
            rows: at least one.
            lane: what they wait behind.
        """
        if (fault := self.availability.write_fault) is not None:
            outcomes = self._loop.create_future()
            outcomes.set_result([fault() for _ in rows])
            return outcomes
        if self.erasures.blocked and any(map(self._is_blocked, rows)):
            return self._loop.create_task(self._write_others(rows, lane))
        writes = self._writes[lane]
        if len(rows) == 1 and lane is Lane.CREATES and not writes and self._is_inserter_ready():
            outcomes = self._loop.create_task(self._insert(rows))
        else:
            outcomes = self._copy_threads[lane].write(rows)
        writes.add(outcomes)
        outcomes.add_done_callback(writes.discard)
        outcomes.add_done_callback(self._look_for_full_disk)
        return outcomes

    async def find(self, query: Query) -> Page:
        """Return one page of the events that `query` asks for.

        Raises:
            TooManySearches: too many searches are waiting.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the search took more than its 5 s.
            PageTooLarge: the messages of the page are over 16 MiB.
        """
        return await self.reads.find(query)

    async def list_events(self, query: ListQuery) -> Listing:
        """Return one page of the events that `query` asks for, whole. Raises what `find` raises."""
        return await self.reads.list_events(query)

    async def get_event(self, customer_id: str, event_id: str) -> Event | None:
        """Return a customer's event with this id, a UUID, or None. Raises what `find` raises."""
        return await self.reads.get_event(customer_id, event_id)

    async def begin_export(self, query: ExportQuery) -> Export | ReplicaExport:
        """Return an export that ends at what is now the newest event. Raises TooManySearches, DatabaseUnavailable."""
        return await self.reads.begin_export(query)

    async def list_refusals(self, query: RefusalQuery) -> list[Refusal]:
        """Return what `Refusals.find` returns. Raises DatabaseUnavailable."""
        self._check_up()
        return await self.refusals.find(query)

    async def summarize(self, query: SummaryQuery) -> Summary:
        """Return how many events there are, of how many users, in each group that `query` asks for.

        Raises:
            TooManySearches: too many summaries are waiting.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the summary took more than its 10 s.
        """
        self._check_up()
        if self._summaries is None:
            summaries = await run_in_daemon_thread(_load_summaries, "loading numpy")
            self._summaries = self._summaries or summaries(self._url)
        return await self._summaries.summarize(query)

    async def begin_watch(self, customer_id: str) -> WatchPosition:
        """Return the position behind all events of a customer that are committed. Raises what `find` raises."""
        self._check_up()
        return await self._watches.begin(customer_id)

    async def watch(self, query: ListQuery, position: WatchPosition) -> Watched:
        """Return the next events behind a position, if there are any.

        Raises:
            PositionLost: the database is no longer the one whose position this is.
            TooManySearches, DatabaseUnavailable, SearchTimedOut: as `find` does.
        """
        self._check_up()
        return await self._watches.advance(query, position)

    async def close(self) -> None:
        """Wait until the rows handed over are written, abandon searches, and close all connections."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.reads.close()
        if self._summaries is not None:
            await self._summaries.close()
        await self._watches.close()
        if writes := set().union(*self._writes.values()):
            await asyncio.wait(writes)
        self._inserter.close()
        self.refusals.disconnect()
        await self.erasures.close()
        await asyncio.gather(*[thread.close() for thread in self._copy_threads.values()])

    def _check_up(self) -> None:
        if not self.availability.up:
            raise DatabaseUnavailable

    def _is_inserter_ready(self) -> bool:
        if not self._inserter.is_connected:
            self._inserter.connect_in_background()
        return self._inserter.is_connected

    def _is_blocked(self, row: Row) -> bool:
        return row.event.user_id in self.erasures.blocked.get(row.event.customer_id, ())

    async def _write_others(self, rows: list[Row], lane: Lane) -> list[Outcome]:
        """Write the rows whose users are not blocked, and return the outcomes of all."""
        others = [row for row in rows if not self._is_blocked(row)]
        written = iter(await self.write(others, lane) if others else [])
        kept = {row.event.id for row in others}
        return [next(written) if row.event.id in kept else UserBlocked() for row in rows]

    async def _insert(self, rows: list[Row]) -> list[Outcome]:
        event = rows[0].event
        if await self._inserter.insert(event):
            return [event]
        if (fault := self.availability.write_fault) is not None:
            return [fault()]
        return await self._copy_threads[Lane.CREATES].write(rows)

    def _look_for_full_disk(self, outcomes: "asyncio.Future[list[Outcome]]") -> None:
        if not outcomes.cancelled() and isinstance(outcomes.result()[0], DatabaseFull):
            self.availability.note_full_disk()

    async def _abandon_on_outage(self) -> None:
        while True:
            await self.availability.changed()
            if (fault := self.availability.write_fault) is None:
                continue
            self._inserter.disconnect()
            self.erasures.disconnect()
            for thread in self._copy_threads.values():
                thread.abandon(fault)
            if self.availability.up:
                continue
            self.refusals.disconnect()
            self.reads.abandon()
            if self._summaries is not None:
                self._summaries.abandon()
            self._watches.abandon()


def _load_summaries() -> "type[Summaries]":
    limit_threads()
    from storage.summarizing import Summaries

    return Summaries
