"""Summaries: how many events of a customer there are, and of how many users, by up to two of their properties.

Events are counted here, from columns. Those of the days that `storage.summary_days` keeps come from there, and all
others from the events table.

This and what it uses need numpy, which takes 0.1 s to load and 17 MB. So nothing imports it before the first summary.
"""

import asyncio
import uuid
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from storage.columns import (
    ColumnMaker,
    Events,
    find_times,
    read_column,
    read_ids,
    read_times,
)
from storage.counting import Counted, Counter
from storage.daemon_thread import run_in_daemon_thread
from storage.errors import SearchTimedOut
from storage.event import format_time
from storage.event_columns import add_texts, find_next_id, make_read
from storage.ids import DAY_MILLISECONDS, get_milliseconds, make_bound
from storage.model import AnalyticsEvent
from storage.sessions import Sessions
from storage.summary import TIMES, Group, Summary, SummaryQuery
from storage.summary_days import MIN_EVENTS, SummaryDays

T = TypeVar("T")

NAME = "analytics summary"
"""The name by which the database lists the connections."""

SESSION = {
    "jit": "off",
    # The whole table is never read. A page of it costs as much wherever it is: events lie in the order of time.
    "enable_seqscan": "off",
    "random_page_cost": "1.1",
    # A summary has one core, so that creates have the others.
    "max_parallel_workers_per_gather": "0",
}
"""The settings of a session that executes these statements."""

# Of a time in the form of `Event.created_at`, what is left of it, and what follows.
_PRINTED = {"day": (10, ""), "hour": (13, ":00:00Z")}

# How many events of days that are kept are read at a time.
_KEPT_EVENTS = 200_000

# When events are erased before the groups have their texts from them, a summary begins again.
_ATTEMPTS = 3

_FIND_DAYS = """
SELECT day - date 'epoch', events FROM summary_day
WHERE customer_id = %s AND day >= date 'epoch' + %s AND day <= date 'epoch' + %s AND events IS NOT NULL ORDER BY day
"""
_READ_DAYS = """
SELECT day - date 'epoch', token::text, events, {times}, {columns} FROM summary_day
WHERE customer_id = %s AND day = ANY (%s::date[]) AND events IS NOT NULL
"""
_FIND_IDS = """
SELECT wanted.number, encode(substring(ids FROM wanted.place * 16 + 1 FOR 16), 'hex')::uuid::text
FROM unnest(%s::int[], %s::int[], %s::uuid[], %s::int[]) AS wanted (number, day, token, place)
JOIN summary_day AS kept ON kept.customer_id = %s AND kept.day = date 'epoch' + wanted.day AND kept.token = wanted.token
"""
_FIND_TEXTS = (
    f'SELECT id::text{{columns}} FROM "{AnalyticsEvent._meta.table_name}"'  # noqa: S608 - made of constants
    " WHERE customer_id = %s AND id = ANY (%s::uuid[])"
)


class _Kept(NamedTuple):
    """Where events have come from: a day that is kept."""

    day: int
    token: str


_Source = _Kept | np.ndarray[Any, Any]
"""Where events have come from: a day that is kept, or the events table, with these ids."""


class _Reading:
    """A summary in progress."""

    def __init__(self, query: SummaryQuery) -> None:
        self.query = query
        self.since, self.until = get_milliseconds(query.since_id), get_milliseconds(query.before_id)
        self.first_day, self.last_day = self.since // DAY_MILLISECONDS, (self.until - 1) // DAY_MILLISECONDS
        named = [name for name in (*query.by, *(name for name, _ in query.filters)) if name not in TIMES]
        self.names = tuple(dict.fromkeys((*named, "user_id")))
        """The columns that are needed."""
        self.counter = Counter(query.by, query.filters, self.since, self.until)
        self.sources: list[_Source] = []
        self.days: Tally[int] = Tally()
        """How many events the events table has had of each day."""

    def add_read(self, ids_read: Any, lists: Sequence[str]) -> str:
        """Count events of the table. Return the id at which to go on."""
        ids = read_ids(bytes(ids_read))
        makers = [ColumnMaker() for _ in self.names]
        add_texts(makers, lists)
        times = find_times(ids)
        columns = {name: maker.make() for name, maker in zip(self.names, makers, strict=True)}
        self.sources.append(ids)
        days, counts = np.unique_counts(times // DAY_MILLISECONDS)
        self.days.update(dict(zip(days.tolist(), counts.tolist(), strict=True)))
        self.counter.add(Events(len(ids), 0, times, columns))
        return find_next_id(ids_read)

    def add_kept(self, kept: Sequence[Any]) -> None:
        """Count events of a day that is kept."""
        day, token, events, times, *parts = kept
        columns = {name: read_column(*parts[at * 2 : at * 2 + 2]) for at, name in enumerate(self.names)}
        self.sources.append(_Kept(day, token))
        self.counter.add(Events(events, day * DAY_MILLISECONDS, None if times is None else read_times(times), columns))


class Summaries:
    """The summaries of one event loop."""

    def __init__(self, url: str, *, connections: int = 2, max_waiting: int = 64, timeout: float = 10.0) -> None:
        """Prepare the sessions. Each connects at its first summary.

        Args:
            url: a libpq connection URI or string.
            connections: the number of summaries that are made at once.
            max_waiting: the number of further summaries that may wait.
            timeout: seconds until a summary is given up.
        """
        self._timeout = timeout
        self._sessions = Sessions(url, NAME, SESSION, connections=connections, max_waiting=max_waiting, timeout=timeout)
        self._days = SummaryDays(url)
        self._finishing = asyncio.Lock()
        """What takes the most memory happens once at a time."""

    async def summarize(self, query: SummaryQuery) -> Summary:
        """Return the summary that `query` asks for. If the awaiting task is cancelled, end its statement.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: it took too long.
            SummaryTooLarge: there are too many different events.
        """
        try:
            async with asyncio.timeout(self._timeout):
                for attempt in range(_ATTEMPTS):
                    # Then without what is kept, which is wrong if somebody has deleted events in another way.
                    if (summary := await self._count(query, use_kept=not attempt)) is not None:
                        return summary
        except TimeoutError:
            pass
        raise SearchTimedOut

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self._sessions.abandon()
        self._days.disconnect()

    async def close(self) -> None:
        """Abandon all calls. The database ends their statements, at their timeout at the latest."""
        await self._days.close()
        await self._sessions.close()

    async def _count(self, query: SummaryQuery, *, use_kept: bool) -> Summary | None:
        """Return the summary, or None if events of it were erased meanwhile."""
        reading = _Reading(query)
        try:
            await self._read(reading, use_kept=use_kept)
        finally:  # Also of one that is given up, or the next one would be, too.
            days = [day for day, count in reading.days.items() if count >= MIN_EVENTS]
            self._days.ask(query.customer_id, days)
        async with self._finishing:
            counts = await _count_in_thread(partial(reading.counter.finish, query.top))
        ids, missing = await _count_in_thread(partial(_find_ids, counts.groups, reading.sources))
        if missing:
            wanted = [list(each) for each in zip(*missing, strict=True)]
            ids |= dict(await self._sessions.run(_FIND_IDS, (*wanted, query.customer_id)))
        names = [name for name in query.by if name not in TIMES]
        sql = _FIND_TEXTS.format(columns="".join(f", {name}" for name in names))
        rows = await self._sessions.run(sql, (query.customer_id, list(ids.values())))
        if len(rows) < len(counts.groups):
            return None
        groups = await _count_in_thread(partial(_make_groups, query.by, counts.groups, ids, rows))
        return Summary(groups, counts.events, counts.users, counts.has_more)

    async def _read(self, reading: _Reading, *, use_kept: bool) -> None:
        """Count all events, from the days that are kept and from the table, in the order of time."""
        query = reading.query
        end = reading.since
        bounds = (query.customer_id, reading.first_day, reading.last_day)
        for days in _batch(await self._sessions.run(_FIND_DAYS, bounds) if use_kept else []):
            kept = await self._read_days(reading, days)
            for day in days:
                if day in kept:  # Otherwise it was erased meanwhile.
                    await self._read_events(reading, end, day * DAY_MILLISECONDS)
                    await _count_in_thread(partial(reading.add_kept, kept.pop(day)))
                    end = (day + 1) * DAY_MILLISECONDS
        await self._read_events(reading, end, reading.until)

    async def _read_days(self, reading: _Reading, days: Sequence[int]) -> dict[int, Sequence[Any]]:
        """Return what is kept of days."""
        columns = ", ".join(f"{name}_codes, {name}_hashes" for name in reading.names)
        query = reading.query
        # To tell the hours of all days, and which events of the first and of the last one count.
        sql = _READ_DAYS.format(
            columns=columns,
            times="times" if "hour" in query.by else "CASE WHEN day - date 'epoch' IN (%s, %s) THEN times END",
        )
        ends = () if "hour" in query.by else (reading.first_day, reading.last_day)
        dates = [format_time(day * DAY_MILLISECONDS)[:10] for day in days]
        rows = await self._sessions.run(sql, (*ends, query.customer_id, dates))
        return {row[0]: row for row in rows}

    async def _read_events(self, reading: _Reading, start: int, end: int) -> None:
        """Count events that are read from their table: those from one millisecond until before another."""
        if start >= end:
            return
        sql, customer_id = make_read(reading.names), reading.query.customer_id
        next_id, end_id, is_last = make_bound(start), make_bound(end), False
        while not is_last:
            ((is_last, ids, *lists),) = await self._sessions.run(sql, (customer_id, next_id, end_id))
            if ids is not None:
                next_id = await _count_in_thread(partial(reading.add_read, ids, lists))


async def _count_in_thread(function: Callable[[], T]) -> T:
    """Return what `function` returns. If the awaiting task is cancelled, wait for the thread: it takes memory."""
    thread = asyncio.ensure_future(run_in_daemon_thread(function, "counting"))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


def _find_ids(
    groups: Sequence[Counted], sources: Sequence[_Source]
) -> tuple[dict[int, str], list[tuple[int, int, str, int]]]:
    """Return the id of the newest event of each group, by the number of the group, or what `_FIND_IDS` takes for it."""
    ids = {}
    kept = []
    for number, group in enumerate(groups):
        source = sources[group.source]
        if isinstance(source, _Kept):
            kept.append((number, *source, group.place))
        else:
            ids[number] = str(uuid.UUID(bytes=source[group.place].tobytes()))
    return ids, kept


def _make_groups(
    by: Sequence[str], groups: Sequence[Counted], ids: dict[int, str], rows: Sequence[Sequence[str]]
) -> list[Group]:
    """Return the groups with the values that their newest events have."""
    texts = {event_id: iter(found) for event_id, *found in rows}
    # `format_time` is for the event loop alone.
    times = np.array([get_milliseconds(ids[number]) for number in range(len(groups))], "datetime64[ms]")
    made = []
    for number, (group, printed) in enumerate(zip(groups, np.datetime_as_string(times).tolist(), strict=True)):
        created_at = f"{printed}Z"
        found = texts[ids[number]]
        values = tuple(_print_time(created_at, name) if name in TIMES else next(found) for name in by)
        made.append(Group(values, group.events, group.users, created_at))
    return made


def _batch(rows: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Yield days that are read at once, from days and the numbers of their events."""
    days: list[int] = []
    size = 0
    for day, events in rows:
        if days and size + events > _KEPT_EVENTS:
            yield days
            days, size = [], 0
        days.append(day)
        size += events
    if days:
        yield days


def _print_time(created_at: str, name: str) -> str:
    length, rest = _PRINTED[name]
    return created_at[:length] + rest
