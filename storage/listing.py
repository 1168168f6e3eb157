"""Lists: the events of a customer that have some values, newest first."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from storage.errors import PageTooLarge, SearchTimedOut
from storage.event import Event
from storage.list_search import find_ids
from storage.model import TIME_FORMAT
from storage.selection import SESSION, TABLE, ListQuery
from storage.sessions import Sessions

NAME = "analytics list"
"""The name by which the database lists the connections."""

_SECONDS = 10.0


class Listing(NamedTuple):
    """One page of a list."""

    events: list[Event]
    """Newest first."""
    next_id: str = ""
    """What the events of the next page sort after. Empty if this is the last one."""


# Of an object as it is stored, which is about as large as its text, or a few times smaller: to print it takes 1 ms.
OBJECT_SIZE = "coalesce(pg_column_size(jsonb_build_object() || version_info), 0)"
SIZES = f"octet_length(message) + octet_length(event_environment_path) + {OBJECT_SIZE}"
"""The bytes of the long texts of an event."""

COLUMNS = {name: name for name in Event._fields} | {
    "version_info": "version_info::text",
    "id": "id::text",
    "created_at": f"to_char(created_at AT TIME ZONE 'UTC', '{TIME_FORMAT}')",
    "updated_at": f"to_char(updated_at AT TIME ZONE 'UTC', '{TIME_FORMAT}')",
}
"""What to select for each field of an event."""

_COLUMNS = ", ".join(
    {**COLUMNS, "message": f"CASE WHEN sum({SIZES}) OVER () <= %s THEN message END"}[name] for name in Event._fields
)
# By a range of one id in the order of the primary key, which no other index has. Of a customer whom the statistics do
# not know, all else would seem as cheap by the index of the searches, all of whose entries would be read.
_FETCH = f"""
SELECT {_COLUMNS} FROM unnest(%s::uuid[]) AS wanted (wanted_id) CROSS JOIN LATERAL (
  SELECT * FROM {TABLE} WHERE customer_id = %s AND id >= wanted_id AND id <= wanted_id ORDER BY {TABLE}.id LIMIT 1
) AS {TABLE} ORDER BY {TABLE}.id DESC
"""  # noqa: S608 - made of constants
_MESSAGE = Event._fields.index("message")


class Lists:
    """The lists of one event loop."""

    def __init__(
        self,
        url: str,
        ask: Callable[[str], None],
        *,
        connections: int = 3,
        max_waiting: int = 256,
        timeout: float = 5.0,
        max_bytes: int = 16 << 20,
    ) -> None:
        """Prepare the sessions. Each connects at its first list.

        Args:
            url: a libpq connection URI or string.
            ask: what has segments kept of a customer's events.
            connections: the number of statements that run at once.
            max_waiting: the number of further statements that may wait.
            timeout: seconds until the database gives up a statement.
            max_bytes: the limit on the sum of the long texts of a page, in bytes.
        """
        self._ask = ask
        self._max_bytes = max_bytes
        self._sessions = Sessions(url, NAME, SESSION, connections=connections, max_waiting=max_waiting, timeout=timeout)

    async def list_events(self, query: ListQuery) -> Listing:
        """Return the page that `query` asks for. If the awaiting task is cancelled, end its statement.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: it took too long.
            PageTooLarge: the long texts of the page exceed the limit.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                ids = await find_ids(self._sessions, query, self._ask)
                events = await self.fetch(query.customer_id, ids[: query.page_size])
        except TimeoutError:
            raise SearchTimedOut from None
        return Listing(events, ids[query.page_size - 1] if len(ids) > query.page_size else "")

    async def fetch(self, customer_id: str, ids: Sequence[str]) -> list[Event]:
        """Return those events of a customer that have one of these ids, newest first. Raises as `list_events` does."""
        rows = await self._sessions.run(_FETCH, (self._max_bytes, list(ids), customer_id)) if ids else []
        if rows and rows[0][_MESSAGE] is None:
            raise PageTooLarge
        return list(map(Event._make, rows))

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self._sessions.abandon()

    async def close(self) -> None:
        """Abandon all calls. The database ends their statements, at their timeout at the latest."""
        await self._sessions.close()
