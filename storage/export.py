"""Exports: all events of a customer that have some values, oldest first, a step at a time.

A step reads so many rows, and so many bytes, as take the database a few milliseconds and fit into memory many times.
Without filters, it reads the rows that follow in the primary key. With filters, the ids are found first: among the next
rows in that order or, if few of those are wanted, in the next stretch of time, where the index `analytics_event_list`
tells which blocks may hold some. Stretches grow as long as that goes faster than row after row: see `storage.listing`.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from storage.errors import SearchTimedOut
from storage.event import Event, format_time
from storage.ids import get_milliseconds, make_bound, to_time
from storage.listing import COLUMNS, SIZES
from storage.model import make_search_key
from storage.selection import SEARCHED, SESSION, TABLE, make_condition
from storage.sessions import Sessions

NAME = "analytics export"
"""The name by which the database lists the connections."""

_STEP_EVENTS = 1_000

# Of the long texts of a step. One event may be larger.
_STEP_BYTES = 1 << 20

# How many rows are looked through at a time for those that are wanted.
_SCANNED = 4_000

# If fewer of them are wanted, stretches of time may be faster.
_FEW = 100

# The first stretch is so many times as long as the last rows were, and each longer or shorter than the one before.
_GROWTH = 8
_LONG_SECONDS = 0.5

# After how many scans stretches are tried again, once they were slower.
_PATIENCE = 32

_SELECT = f"""
SELECT {{columns}} FROM (
  SELECT *, sum(size) OVER (ORDER BY id) - size AS bytes_before FROM (
    SELECT *, {SIZES} AS size FROM {TABLE} WHERE customer_id = %s AND {{condition}} ORDER BY id LIMIT {_STEP_EVENTS}
  ) AS found
) AS step WHERE bytes_before < {_STEP_BYTES} ORDER BY step.id
"""  # noqa: S608 - made of constants
_COLUMNS = ", ".join(COLUMNS[name] for name in Event._fields)
_READ = _SELECT.format(columns=_COLUMNS, condition="id > %s AND id <= %s")
_FETCH = _SELECT.format(columns=_COLUMNS, condition="id = ANY(%s::uuid[])")

_FIND_NEWEST = f"SELECT id::text FROM {TABLE} WHERE customer_id = %s ORDER BY {TABLE}.id DESC LIMIT 1"  # noqa: S608 - made of constants

_SCAN = f"""
WITH scanned AS MATERIALIZED (
  SELECT id, {{condition}} AS is_wanted FROM {TABLE}
  WHERE customer_id = %s AND id > %s AND id <= %s ORDER BY id LIMIT {_SCANNED}
)
SELECT ARRAY(SELECT id::text FROM scanned WHERE is_wanted ORDER BY scanned.id),
  (SELECT count(*) FROM scanned), (SELECT id::text FROM scanned ORDER BY scanned.id LIMIT 1),
  (SELECT id::text FROM scanned ORDER BY scanned.id DESC LIMIT 1)
"""  # noqa: S608 - made of constants

# In the same transaction, which it is alone in.
_FIND_LATER = f"""
SET LOCAL enable_bitmapscan = on; SET LOCAL enable_indexscan = off;
SELECT id::text FROM {TABLE}
WHERE customer_id = %s AND created_at >= %s AND created_at < %s AND id > %s AND id <= %s AND {{condition}}
ORDER BY created_at, {TABLE}.id LIMIT {_STEP_EVENTS}
"""  # noqa: S608 - made of constants

_FIND_BY_KEY = f"""
SELECT id::text FROM {TABLE}
WHERE customer_id = %s AND search_key = %s AND (created_at, id) > (%s, %s) AND created_at <= %s AND id <= %s
  AND {{condition}}
ORDER BY created_at, {TABLE}.id LIMIT {_STEP_EVENTS}
"""  # noqa: S608 - made of constants


class ExportQuery(NamedTuple):
    """What to export. Every condition must hold."""

    customer_id: str
    filters: tuple[tuple[str, str], ...]
    """Of `storage.listing.FILTERS`, the name and the value of each that is set."""
    after_id: str
    """Events are exported whose id is greater."""
    until_id: str
    """Events are exported whose id is not greater."""


class Step(NamedTuple):
    """The next events of an export."""

    events: list[Event]
    """Oldest first. There may be none."""
    last_id: str
    """Where the next step goes on: no event whose id is up to this one is still to come."""
    is_last: bool


class Export:
    """An export in progress."""

    def __init__(self, sessions: Sessions, query: ExportQuery) -> None:
        """Begin with the first event."""
        values = dict(query.filters)
        self.until_id = query.until_id
        self._sessions = sessions
        self._customer_id = query.customer_id
        self._texts = tuple(values.values())
        self._condition = make_condition(values)
        self._key = make_search_key(*[values[name] for name in SEARCHED]) if set(SEARCHED) <= set(values) else None
        self._after_id = query.after_id
        """All ids up to this one have been found."""
        self._is_at_end = query.after_id >= query.until_id
        self._found: list[str] = []
        """The ids whose events have not been read."""
        self._stretch = 0
        """In milliseconds: how far to look at the next step, or 0 to look row after row."""
        self._speed = 0.0
        """In milliseconds of the events' time per second: how fast it goes row after row."""
        self._patience = 0
        """How many scans must pass before a stretch is tried."""

    async def read(self) -> Step:
        """Return the next step. If the awaiting task is cancelled, end its statement.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: it took too long.
        """
        if not self._texts:
            return await self._read_rows()
        if not self._found and not self._is_at_end:
            await self._find()
        ids = self._found[:_STEP_EVENTS]
        events = await self._run(_FETCH, ids) if ids else []
        if events and len(events) < len(ids):  # They are too large, or some have been erased.
            last_id = events[-1].id
            ids = [each for each in ids if each <= last_id]
        self._found = self._found[len(ids) :]
        return Step(events, ids[-1] if self._found else self._after_id, self._is_at_end and not self._found)

    async def _read_rows(self) -> Step:
        events = [] if self._is_at_end else await self._run(_READ, self._after_id, self.until_id)
        self._is_at_end = not events or events[-1].id >= self.until_id
        self._after_id = self.until_id if self._is_at_end else events[-1].id
        return Step(events, self._after_id, self._is_at_end)

    async def _run(self, sql: str, *values: Any) -> list[Event]:
        return list(map(Event._make, await self._sessions.run(sql, (self._customer_id, *values))))

    async def _find(self) -> None:
        """Find the next ids, if there are some within reach."""
        if self._key is not None:
            await self._find_by_key()
        elif self._stretch:
            await self._find_in_stretch()
        else:
            await self._scan()
        if self._after_id >= self.until_id:
            self._is_at_end = True

    async def _find_by_key(self) -> None:
        bounds = (to_time(self._after_id), self._after_id, to_time(self.until_id), self.until_id)
        sql = _FIND_BY_KEY.format(condition=self._condition)
        rows = await self._sessions.run(sql, (self._customer_id, self._key, *bounds, *self._texts))
        self._take(rows, self.until_id)

    async def _scan(self) -> None:
        began = time.monotonic()
        sql = _SCAN.format(condition=self._condition)
        values = (*self._texts, self._customer_id, self._after_id, self.until_id)
        ((ids, count, first_id, last_id),) = await self._sessions.run(sql, values)
        self._found = list(ids)
        if count < _SCANNED:
            self._after_id = self.until_id
            return
        self._after_id = last_id
        passed = get_milliseconds(last_id) - get_milliseconds(first_id)
        self._speed = passed / (time.monotonic() - began)
        self._patience = max(self._patience - 1, 0)
        if len(self._found) < _FEW and not self._patience:
            self._stretch = _GROWTH * max(passed, 1)

    async def _find_in_stretch(self) -> None:
        start, began = get_milliseconds(self._after_id), time.monotonic()
        end = min(start + self._stretch, get_milliseconds(self.until_id) + 1)
        sql = _FIND_LATER.format(condition=self._condition)
        times = (format_time(start), format_time(end))
        values = (self._customer_id, *times, self._after_id, self.until_id, *self._texts)
        try:
            rows = await self._sessions.run(sql, values)
        except SearchTimedOut:
            self._give_up_stretches()
            return
        seconds = time.monotonic() - began
        self._take(rows, min(make_bound(end), self.until_id))
        if (get_milliseconds(self._after_id) - start) / seconds < self._speed:
            self._give_up_stretches()
        elif seconds < _LONG_SECONDS / _GROWTH:
            self._stretch *= _GROWTH
        elif seconds > _LONG_SECONDS:
            self._stretch = max(self._stretch // _GROWTH, 1)

    def _take(self, rows: Sequence[Any], end_id: str) -> None:
        """Take the ids of a statement that looked as far as `end_id`, unless it found as many as it may."""
        self._found = [event_id for (event_id,) in rows]
        self._after_id = self._found[-1] if len(rows) == _STEP_EVENTS else end_id

    def _give_up_stretches(self) -> None:
        self._stretch = 0
        self._patience = _PATIENCE


class Exports:
    """The exports of one event loop."""

    def __init__(self, url: str, *, connections: int = 2, max_waiting: int = 64, timeout: float = 5.0) -> None:
        """Prepare the sessions. Each connects at its first statement.

        Args:
            url: a libpq connection URI or string.
            connections: the number of statements that run at once.
            max_waiting: the number of further statements that may wait.
            timeout: seconds until the database gives up a statement.
        """
        self._sessions = Sessions(url, NAME, SESSION, connections=connections, max_waiting=max_waiting, timeout=timeout)

    async def begin(self, query: ExportQuery) -> Export:
        """Return an export that ends, at the latest, at what is now the newest event. Raises as `Export.read` does."""
        rows = await self._sessions.run(_FIND_NEWEST, (query.customer_id,))
        newest = rows[0][0] if rows else query.after_id
        return Export(self._sessions, query._replace(until_id=min(query.until_id, newest)))

    def resume(self, query: ExportQuery) -> Export:
        """Return an export that ends at the last event that `query` names."""
        return Export(self._sessions, query)

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self._sessions.abandon()

    async def close(self) -> None:
        """Abandon all calls. The database ends their statements, at their timeout at the latest."""
        await self._sessions.close()
