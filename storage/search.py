"""Searches: queries to statements, and rows to pages."""

from typing import Any

from storage.errors import PageTooLarge
from storage.event import Found, Page, Query
from storage.ids import to_time
from storage.model import make_search_key
from storage.search_sql import ALL, ALL_BEFORE, LATEST, LATEST_BEFORE, SESSION
from storage.sessions import Sessions

NAME = "analytics search"
"""The name by which the database lists the connections."""

# The largest message: 65,536 characters of four bytes.
_MAX_MESSAGE_BYTES = 256 << 10


class Searches:
    """The searches of one event loop."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = 6,
        max_waiting: int = 256,
        timeout: float = 5.0,
        max_page_bytes: int = 16 << 20,
    ) -> None:
        """Prepare the sessions. Each connects at its first search.

        Args:
            url: a libpq connection URI or string.
            connections: the number of searches that run at once.
            max_waiting: the number of further searches that may wait.
            timeout: seconds until the database gives up a search.
            max_page_bytes: the limit on the sum of a page's `message` texts, in bytes.
        """
        self._max_page_bytes = max_page_bytes
        self._sessions = Sessions(
            url,
            NAME,
            SESSION,
            [each.prepare for each in (ALL, LATEST, ALL_BEFORE, LATEST_BEFORE)],
            connections=connections,
            max_waiting=max_waiting,
            timeout=timeout,
        )

    async def find(self, query: Query) -> Page:
        """Return the page that `query` asks for. If the awaiting task is cancelled, end the search.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the database gave up the search.
            PageTooLarge: the messages of the page exceed the limit.
        """
        sql, recordings = self._make_sql(query)
        return _make_page(query, await self._sessions.run(sql, (query.customer_id,), recordings))

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every `find` in flight, without waiting for a search that hangs."""
        self._sessions.abandon()

    async def close(self) -> None:
        """Abandon all searches. The database ends those that it runs, at their timeout at the latest."""
        await self._sessions.close()

    def _make_sql(self, query: Query) -> tuple[str, int]:
        """Return the statement of a query, and of how many recordings it is."""
        keys = {
            make_search_key(query.entity_type, query.entity_id, query.user_id, recording)
            for recording in query.recording_ids
        }
        values: dict[str, Any] = {"keys": ",".join(keys), "limit": query.page_size, "max_bytes": self._max_page_bytes}
        place, offset = query.place, (query.page - 1) * query.page_size
        if place is None:
            statement = LATEST if query.latest else ALL
        else:
            statement = LATEST_BEFORE if query.latest else ALL_BEFORE
            offset = place.offset
            values["limit"] += 1  # By which it is known whether there is a next page.
            values["max_bytes"] += _MAX_MESSAGE_BYTES
            values["total"] = -1 if place.total is None else place.total
            values |= {"before_at": to_time(place.before_id), "before_id": place.before_id}
        sql = statement.execute.format(**values, offset=offset, page_end=offset + values["limit"])
        return sql, len(keys)


def _make_page(query: Query, rows: list[Any]) -> Page:
    total = rows[0][0]
    # A page past the end is one row that holds only the total.
    events = [Found._make(row[1:-1]) for row in rows if row[1] is not None]
    if events and events[0].message is None:
        raise PageTooLarge
    next_id = str(rows[query.page_size - 1][-1]) if len(events) > query.page_size else ""
    return Page(events[: query.page_size], total, next_id)
