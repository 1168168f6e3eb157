"""How the events of a list are found.

A B-tree for each filter would cost every create a quarter of its time. So a list looks through the newest events of the
customer in the order of the primary key. What many events have, it finds there. If that is not enough for a page, the
segments tell where older events with those values are: see `storage.segments`. Events that are in no segment are looked
through in the order of the primary key, or, if they are many, in steps back in time that grow. The index
`analytics_event_list` has Bloom filters of the values in each group of blocks, so that a step reads few of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from storage.event import format_time
from storage.ids import get_milliseconds, to_time
from storage.model import make_search_key
from storage.segments import READ_BYTES, find_bucket, find_places, make_prefix
from storage.selection import SEARCHED, TABLE, ListQuery, make_condition
from storage.sessions import Sessions

RECENT_EVENTS = 4_000
"""How many of the newest events are looked through. That takes a few milliseconds."""

SCANNED_EVENTS = 12_000
"""How many are at a time that are in no segment, or in one where many have the values. That takes up to 15 ms."""

# How many segments are read at once: few at first, since most pages are found in the newest.
_SEGMENTS = (8, 32)

# As long as so many further scans of that size fill the page, it goes on with them.
_PATIENCE = 4

# Of how many events that may be wanted it is found out at once which are.
_MAX_CANDIDATES = 256

# The length of the first step back in time, and by how much each is longer than the one before at most.
_GROWTH = 8
_MARGIN = 1.5
_FIRST_MILLISECONDS = 3_600_000

# The step that is so long goes back to the first event.
_MAX_MILLISECONDS = 10 * 365 * 24 * 3_600_000

# When segments are merged or deleted meanwhile, a list begins again, the last time without them.
_ATTEMPTS = 4

_SCAN = """
WITH scanned AS MATERIALIZED (
  SELECT id, {condition} AS is_wanted FROM {table}
  WHERE customer_id = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT %s
)
SELECT ARRAY(SELECT id::text FROM scanned WHERE is_wanted ORDER BY scanned.id DESC LIMIT %s),
  (SELECT count(*) FROM scanned), (SELECT id::text FROM scanned ORDER BY scanned.id LIMIT 1)
"""

# Of a bucket in which a hash is nowhere, nothing is returned. Where its bytes are, an entry of it may begin, or not.
_FIND_SEGMENTS = """
WITH read AS MATERIALIZED (
  SELECT start_id, end_id, token, {buckets} FROM list_segment
  WHERE customer_id = %s AND end_id > %s AND start_id < %s AND events IS NOT NULL
  ORDER BY list_segment.end_id DESC, list_segment.start_id LIMIT %s
)
SELECT start_id::text, end_id::text, token::text, {entries} FROM read ORDER BY read.end_id DESC, read.start_id
"""
_BUCKET = "substring({name} FROM {name}_starts[%s] + 1 FOR {name}_starts[%s] - {name}_starts[%s]) AS {name}"
_ENTRIES = f"substring({{name}} FROM (nullif(position(%s in {{name}}), 0) - 1) / 8 * 8 + 1 FOR {READ_BYTES})"

# By a range of one id in the order of the primary key, which no other index has. Of a customer whom the statistics do
# not know, all else would seem as cheap by the index of the searches, all of whose entries would be read.
_CHECK = """
WITH found AS MATERIALIZED (
  SELECT (SELECT nullif(encode(substring(ids FROM place * 16 + 1 FOR 16), 'hex'), '')::uuid FROM list_segment
    WHERE customer_id = %s AND end_id = wanted.end_id AND token = wanted.token) AS id
  FROM unnest(%s::uuid[], %s::uuid[], %s::int[]) AS wanted (end_id, token, place)
)
SELECT ARRAY(
    SELECT DISTINCT checked.id FROM found CROSS JOIN LATERAL (
      SELECT id FROM {table} WHERE customer_id = %s AND id >= found.id AND id <= found.id
        AND id >= %s AND id < %s AND {condition} ORDER BY {table}.id LIMIT 1
    ) AS checked ORDER BY checked.id DESC LIMIT %s)::text[],
  (SELECT count(id) FROM found)
"""

# In the same transaction, which it is alone in.
_GO_BACK = """
SET LOCAL enable_bitmapscan = on; SET LOCAL enable_indexscan = off;
SELECT id::text FROM {table}
WHERE customer_id = %s AND created_at >= %s AND created_at < %s AND id >= %s AND id < %s AND {condition}
ORDER BY created_at DESC, {table}.id DESC LIMIT %s
"""

_FIND_BY_KEY = """
SELECT id::text FROM {table}
WHERE customer_id = %s AND search_key = %s AND (created_at, id) < (%s, %s) AND created_at >= %s AND {condition}
ORDER BY created_at DESC, {table}.id DESC LIMIT %s
"""


async def find_ids(sessions: Sessions, query: ListQuery, ask: Callable[[str], None]) -> list[str]:
    """Return the ids of the events of a page and, if there are more, of the next one, newest first.

    Args:
        sessions: the connections.
        query: what to find.
        ask: called with the customer if segments would have made it faster.

    Raises:
        TooManySearches: the queue is full.
        DatabaseUnavailable: the database cannot be reached.
        SearchTimedOut: the database gave up a statement.
    """
    for attempts_left in reversed(range(_ATTEMPTS)):
        search = _ListSearch(sessions, query, ask)
        if await search.find(use_segments=attempts_left > 0):
            break
    return search.ids


class _SegmentsChanged(Exception):
    """A segment in which something was found is there no more."""


class _ListSearch:
    """A list in progress."""

    def __init__(self, sessions: Sessions, query: ListQuery, ask: Callable[[str], None]) -> None:
        values = dict(query.filters)
        self.ids: list[str] = []
        """What has been found, newest first."""
        self._run = sessions.run
        self._ask = ask
        self._customer_id = query.customer_id
        self._since_id = query.since_id
        self._end_id = query.before_id
        """All events from this id on have been looked at."""
        self._wanted = query.page_size + 1
        self._values = values
        self._condition = make_condition(values)
        self._candidates: list[tuple[str, str, int]] = []
        """Events that may be wanted, newest first: where their segment ends, its token, and their place in it."""
        self._candidates_end_id = ""
        """The list has already looked at the candidates whose id is this one or later."""

    async def find(self, *, use_segments: bool) -> bool:
        """Find the events. Return False if segments have changed meanwhile."""
        if all(name in self._values for name in SEARCHED):
            await self._find_by_key()
            return True
        is_all = await self._scan(RECENT_EVENTS if self._values else self._wanted, self._since_id)
        if not is_all and not self._is_full:
            try:
                await self._find_older(use_segments=use_segments)
            except _SegmentsChanged:
                return False
        return True

    @property
    def _is_full(self) -> bool:
        return len(self.ids) >= self._wanted

    @property
    def _enough(self) -> int:
        """How many candidates are likely to fill the page: with one filter, all of them are wanted, but the erased."""
        return min((self._wanted - len(self.ids)) * min(len(self._values), 2), _MAX_CANDIDATES)

    async def _find_by_key(self) -> None:
        key = make_search_key(*[self._values[name] for name in SEARCHED])
        before = (to_time(self._end_id), self._end_id)
        rows = await self._run(
            _FIND_BY_KEY.format(condition=self._condition, table=TABLE),
            (self._customer_id, key, *before, to_time(self._since_id), *self._values.values(), self._wanted),
        )
        self.ids = [event_id for (event_id,) in rows]

    async def _scan(self, most: int, bound_id: str) -> bool:
        """Look through the next events, down to the bound at most. Return whether there are no more."""
        sql = _SCAN.format(condition=self._condition, table=TABLE)
        bounds = (self._customer_id, bound_id, self._end_id)
        wanted = self._wanted - len(self.ids)
        ((ids, count, oldest),) = await self._run(sql, (*self._values.values(), *bounds, most, wanted))
        self.ids += ids
        self._end_id = oldest or bound_id
        return bool(count < most)

    async def _find_older(self, *, use_segments: bool) -> None:
        """Find what is older than the newest events."""
        values = self._values.values()
        sql = _FIND_SEGMENTS.format(
            buckets=", ".join(_BUCKET.format(name=name) for name in self._values),
            entries=", ".join(_ENTRIES.format(name=name) for name in self._values),
        )
        numbers = [number for value in values for at in [find_bucket(value)] for number in (at + 1, at + 2, at + 1)]
        hashes = [make_prefix(value) for value in values]
        sizes = iter(_SEGMENTS)
        size, rows = 0, []  # type: int, list[Any]
        before_id = self._end_id
        while use_segments and len(rows) == size:
            size = next(sizes, _SEGMENTS[-1])
            rows = await self._run(sql, (*numbers, self._customer_id, self._since_id, before_id, size, *hashes))
            for start_id, end_id, token, *entries in rows:
                if start_id < before_id:  # Otherwise it is part of a larger one.
                    before_id = start_id
                    await self._look_through_segment(start_id, end_id, token, entries)
                if self._is_full:
                    return
        await self._look_through_gap(self._since_id)
        await self._check()

    async def _look_through_gap(self, bound_id: str) -> None:
        """Find what is between a bound and what has been looked at, and in no segment that tells."""
        bound_id = max(bound_id, self._since_id)
        if bound_id < self._end_id:
            await self._check()
            while not self._is_full:
                before = len(self.ids)
                if await self._scan(SCANNED_EVENTS, bound_id):
                    break
                if _PATIENCE * (len(self.ids) - before) < self._wanted - len(self.ids):
                    self._ask(self._customer_id)
                    await self._go_back(bound_id)
                    break
            self._end_id = bound_id

    async def _look_through_segment(self, start_id: str, end_id: str, token: str, entries: Sequence[Any]) -> None:
        """Find what is in a segment, where these are the entries of the values, and in the gap behind it."""
        values = self._values.values()
        found = [find_places(bytes(each or b""), value) for each, value in zip(entries, values, strict=True)]
        await asyncio.sleep(0)  # It may take half a millisecond, and there are many segments.
        places = [set(each) for each in found if each is not None]
        if not places:  # It does not tell, so it is part of the gap behind the next one.
            return
        await self._look_through_gap(end_id)
        if end_id > self._end_id:  # A part of it has been looked at.
            await self._check()
        if not self._candidates:
            self._candidates_end_id = self._end_id
        self._candidates += [(end_id, token, at) for at in sorted(set.intersection(*places), reverse=True)]
        self._end_id = start_id
        if len(self._candidates) >= self._enough:
            await self._check()

    async def _check(self) -> None:
        """Find out which of the candidates are wanted."""
        sql = _CHECK.format(condition=self._condition, table=TABLE)
        bounds = (self._customer_id, self._since_id, self._candidates_end_id)
        most = self._enough
        while self._candidates and not self._is_full:
            candidates, self._candidates = self._candidates[:most], self._candidates[most:]
            most = min(4 * most, _MAX_CANDIDATES)  # Hundreds may be of other pages.
            wanted = self._wanted - len(self.ids)
            columns = map(list, zip(*candidates, strict=True))
            values = (self._customer_id, *columns, *bounds, *self._values.values(), wanted)
            ((ids, count),) = await self._run(sql, values)
            if count < len(candidates):
                raise _SegmentsChanged
            self.ids += ids

    async def _go_back(self, bound_id: str) -> None:
        """Find what is between a bound and what has been looked at, in steps back in time."""
        sql = _GO_BACK.format(condition=self._condition, table=TABLE)
        first, end = get_milliseconds(bound_id), get_milliseconds(self._end_id) + 1
        length = _FIRST_MILLISECONDS
        while not self._is_full and end > first:
            start = max(first, end - length) if length < _MAX_MILLISECONDS else first
            times = (format_time(start), format_time(end))
            wanted = self._wanted - len(self.ids)
            bounds = (self._customer_id, *times, bound_id, self._end_id)
            found = await self._run(sql, (*bounds, *self._values.values(), wanted))
            self.ids += [event_id for (event_id,) in found]
            end = start
            # As long as is likely to be enough.
            needed = _MARGIN * (self._wanted - len(self.ids)) / len(found) if found else _GROWTH
            length = int(length * min(max(needed, 1), _GROWTH))
