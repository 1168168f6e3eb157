"""Lists: which events of a customer have some values, newest first, and the events themselves.

A B-tree for each filter would cost every create a quarter of its time. So a list looks through the newest events of the
customer in the order of the primary key. What many events have, it finds there. If that is not enough for a page, it
goes back in time in steps that grow, and reads of the table only the blocks that may hold such events: the index
`analytics_event_list` has, for each group of blocks, Bloom filters of the values in them.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from storage.errors import PageTooLarge, SearchTimedOut
from storage.event import Event, format_time
from storage.ids import get_milliseconds, to_time
from storage.model import TIME_FORMAT, AnalyticsEvent, make_search_key
from storage.sessions import Sessions

NAME = "analytics list"
"""The name by which the database lists the connections."""

SESSION = {
    # The primary key is read in its order, whatever the statistics say of the customer.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}
"""The settings of a session that executes these statements."""

FILTERS = ("user_id", "entity_type", "entity_id", "recording_id", "event_type", "tool_signature")
"""The columns that a list can be filtered by."""

SEARCHED = ("entity_type", "entity_id", "user_id", "recording_id")
"""The filters by which, together, the index of the searches finds an event."""

# How many of the newest events are looked through. That takes a few milliseconds.
_RECENT = 4_000

# The length of the first step back in time, and by how much each is longer than the one before at most.
_GROWTH = 8
_MARGIN = 1.5
_FIRST_MILLISECONDS = 3_600_000

# The step that is so long goes back to the first event.
_MAX_MILLISECONDS = 10 * 365 * 24 * 3_600_000

_SECONDS = 10.0


class ListQuery(NamedTuple):
    """A list. Every condition must hold."""

    customer_id: str
    filters: tuple[tuple[str, str], ...]
    """Of `FILTERS`, the name and the value of each that is set."""
    since_id: str
    """Events are listed whose id is not less: see `storage.ids.make_bound`."""
    before_id: str
    """Events are listed whose id is less."""
    page_size: int
    """In events, at least 1."""


class Listing(NamedTuple):
    """One page of a list."""

    events: list[Event]
    """Newest first."""
    next_id: str = ""
    """What the events of the next page sort after. Empty if this is the last one."""


TABLE = f'"{AnalyticsEvent._meta.table_name}"'
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
_FETCH = (
    f"SELECT {_COLUMNS} FROM {TABLE} WHERE customer_id = %s"  # noqa: S608 - made of constants
    f" AND id = ANY(%s::uuid[]) ORDER BY {TABLE}.id DESC"
)
_MESSAGE = Event._fields.index("message")

_FIND_RECENT = """
WITH recent AS MATERIALIZED (
  SELECT id, {condition} AS is_wanted FROM {table}
  WHERE customer_id = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT {recent}
)
SELECT ARRAY(SELECT id::text FROM recent WHERE is_wanted ORDER BY id DESC LIMIT %s),
  (SELECT count(*) FROM recent), (SELECT id::text FROM recent ORDER BY id LIMIT 1)
"""

# In the same transaction, which it is alone in.
_FIND_OLDER = """
SET LOCAL enable_bitmapscan = on; SET LOCAL enable_indexscan = off;
SELECT id::text FROM {table} WHERE customer_id = %s AND created_at >= %s AND created_at < %s AND id < %s AND {condition}
ORDER BY created_at DESC, {table}.id DESC LIMIT %s
"""

_FIND_BY_KEY = """
SELECT id::text FROM {table}
WHERE customer_id = %s AND search_key = %s AND (created_at, id) < (%s, %s) AND created_at >= %s AND {condition}
ORDER BY created_at DESC, {table}.id DESC LIMIT %s
"""


class Lists:
    """The lists of one event loop."""

    def __init__(
        self, url: str, *, connections: int = 3, max_waiting: int = 256, timeout: float = 5.0, max_bytes: int = 16 << 20
    ) -> None:
        """Prepare the sessions. Each connects at its first list.

        Args:
            url: a libpq connection URI or string.
            connections: the number of statements that run at once.
            max_waiting: the number of further statements that may wait.
            timeout: seconds until the database gives up a statement.
            max_bytes: the limit on the sum of the long texts of a page, in bytes.
        """
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
                ids = await self._find_ids(query)
                events = await self.fetch(query.customer_id, ids[: query.page_size])
        except TimeoutError:
            raise SearchTimedOut from None
        return Listing(events, ids[query.page_size - 1] if len(ids) > query.page_size else "")

    async def fetch(self, customer_id: str, ids: Sequence[str]) -> list[Event]:
        """Return those events of a customer that have one of these ids, newest first. Raises as `list_events` does."""
        rows = await self._sessions.run(_FETCH, (self._max_bytes, customer_id, list(ids))) if ids else []
        if rows and rows[0][_MESSAGE] is None:
            raise PageTooLarge
        return list(map(Event._make, rows))

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self._sessions.abandon()

    async def close(self) -> None:
        """Abandon all calls. The database ends their statements, at their timeout at the latest."""
        await self._sessions.close()

    async def _find_ids(self, query: ListQuery) -> list[str]:
        """Return the ids of the events of a page and, if there are more, of the next one, newest first."""
        values = dict(query.filters)
        condition = make_condition(values)
        texts = tuple(values.values())
        wanted = query.page_size + 1
        if all(name in values for name in SEARCHED):
            return await self._find_by_key(query, values, condition, wanted)
        recent = _RECENT if values else wanted
        sql = _FIND_RECENT.format(condition=condition, table=TABLE, recent=recent)
        bounds = (query.customer_id, query.since_id, query.before_id)
        ((ids, count, oldest),) = await self._sessions.run(sql, (*texts, *bounds, wanted))
        if len(ids) >= wanted or count < recent:
            return list(ids)
        sql = _FIND_OLDER.format(condition=condition, table=TABLE)
        first, end = get_milliseconds(query.since_id), get_milliseconds(oldest) + 1
        length = _FIRST_MILLISECONDS
        while len(ids) < wanted and end > first:
            start = max(first, end - length) if length < _MAX_MILLISECONDS else first
            times = (format_time(start), format_time(end))
            found = await self._sessions.run(sql, (query.customer_id, *times, oldest, *texts, wanted - len(ids)))
            ids += [event_id for (event_id,) in found]
            end = start
            # As long as is likely to be enough.
            needed = _MARGIN * (wanted - len(ids)) / len(found) if found else _GROWTH
            length = int(length * min(max(needed, 1), _GROWTH))
        return list(ids)

    async def _find_by_key(self, query: ListQuery, values: dict[str, str], condition: str, wanted: int) -> list[str]:
        key = make_search_key(*[values[name] for name in SEARCHED])
        before = (to_time(query.before_id), query.before_id)
        rows = await self._sessions.run(
            _FIND_BY_KEY.format(condition=condition, table=TABLE),
            (query.customer_id, key, *before, to_time(query.since_id), *values.values(), wanted),
        )
        return [event_id for (event_id,) in rows]


def make_condition(values: dict[str, str]) -> str:
    """Return the condition that columns have values, of which `%s` takes the place."""
    return " AND ".join(f"{name} = %s" for name in values) or "true"
