"""Searches, lists and exports: of a replica if there is one, and it will do, or else of the primary."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from storage.availability import Availability
from storage.errors import DatabaseUnavailable
from storage.event import Event, Page, Query
from storage.export import Export, ExportQuery
from storage.list_segments import ListSegments
from storage.listing import Listing
from storage.readers import Readers, may_lag
from storage.replica import LOST, Replica, ReplicaExport
from storage.selection import ListQuery

T = TypeVar("T")


class Reads:
    """What the methods of the same names in `storage.store.EventStore` do. Belongs to one event loop."""

    def __init__(self, url: str, availability: Availability, replica_url: str) -> None:
        """Prepare to connect.

        Args:
            url: that of the primary, a libpq connection URI or string.
            availability: the state of the primary.
            replica_url: that of the replica, or "" if there is none.
        """
        self._segments = ListSegments(url)
        ask = self._segments.ask
        self.replica = Replica(replica_url, url, availability, ask) if replica_url else None
        self._availability = availability
        self._primary = Readers(url, ask)

    async def find(self, query: Query) -> Page:
        """Return one page of a search."""
        return await self._read(query, lambda readers: readers.searches.find(query))

    async def list_events(self, query: ListQuery) -> Listing:
        """Return one page of a list."""
        return await self._read(query, lambda readers: readers.lists.list_events(query))

    async def get_event(self, customer_id: str, event_id: str) -> Event | None:
        """Return an event, which may have been stored just now, or None."""
        self._check_up()
        events = await self._primary.lists.fetch(customer_id, [event_id])
        return events[0] if events else None

    async def begin_export(self, query: ExportQuery) -> Export | ReplicaExport:
        """Return an export."""

        async def begin(readers: Readers) -> Export | ReplicaExport:
            export = await readers.exports.begin(query)
            if self.replica is None or readers is self._primary:
                return export
            return ReplicaExport(self.replica, self._primary.exports, export, query)

        return await self._read(query, begin)

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self._segments.disconnect()
        for readers in self._list_readers():
            readers.abandon()

    async def close(self) -> None:
        """Abandon all calls. The database ends their statements, at their timeout at the latest."""
        await self._segments.close()
        for readers in self._list_readers():
            await readers.close()

    def _list_readers(self) -> list[Readers]:
        return [self._primary] if self.replica is None else [self._primary, self.replica.readers]

    async def _read(
        self, query: Query | ListQuery | ExportQuery, read: Callable[[Readers], Coroutine[Any, Any, T]]
    ) -> T:
        self._check_up()
        if self.replica is not None and self.replica.is_used and may_lag(query):
            try:
                return await read(self.replica.readers)
            except LOST:
                self._check_up()
        return await read(self._primary)

    def _check_up(self) -> None:
        if not self._availability.up:
            raise DatabaseUnavailable
