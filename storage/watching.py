"""Watches: the events of a customer as they are committed, by whichever server.

Nothing is added to the write path. A watch asks again and again for the events that are new since it asked last, as
`storage.snapshot` tells them. The primary key finds them: an event's id has the time at which it was accepted, and its
transaction began at most `storage.copier.LATEST_SECONDS` after that.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg2.errors

from storage.errors import DatabaseUnavailable, PositionLost
from storage.event import TEXT_COUNT, Event
from storage.ids import make_bound
from storage.listing import COLUMNS, OBJECT_SIZE
from storage.selection import SESSION, TABLE, ListQuery, make_condition
from storage.sessions import Sessions
from storage.snapshot import Snapshot, WatchPosition

NAME = "analytics watch"
"""The name by which the database lists the connection."""

# How long before its transaction an event may have been accepted: twice what the writers allow. The other half is for
# clocks that differ, and for a writer that is suspended between its look at the time and its statement.
_SLACK_MILLISECONDS = 120_000

# For how long a transaction is waited for. One that runs on must not make each step go through all that came since.
_PATIENCE_MILLISECONDS = 600_000

# How many events one step goes through. That takes about 15 ms.
_LOOKED_AT = 20_000

# A row has the lower half of the number of its transaction.
_HALF = 2**32


class Watched(NamedTuple):
    """What a watch has found, and how far it has come."""

    events: list[Event]
    """In the order of their ids."""
    interval: WatchPosition
    """A position before these events. With the id of one of them as its `last_id`, it is the position behind that."""
    position: WatchPosition
    """Behind these events. If it has `upto`, there may be more at once."""


# The table's number differs from that of one that was restored from a dump, whose rows have other transactions. Shifted
# so far, it leaves the sign alone.
_NOW = f"""
SELECT pg_current_snapshot()::text,
  (SELECT system_identifier FROM pg_control_system()) # ('{TABLE}'::regclass::oid::bigint << 20),
  substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), floor(extract(epoch FROM now()) * 1000)::bigint
"""  # noqa: S608 - made of constants

# On Citus, it must be asked where the customer's events are.
_BEGIN = f"{_NOW}, old.count FROM (SELECT count(*) FROM {TABLE} WHERE customer_id = %s AND id < %s) AS old"  # noqa: S608 - constants

# What is cheap comes first, since most of what is looked at has been seen: age() compares the lower halves. The number
# of a transaction is at most `next`, and at most so much less as the lower halves differ.
_NEXT = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"
_NUMBER = f"({_NEXT} - (({_NEXT} - xmin::text::bigint) & {_HALF - 1}))::text::xid8"
_IS_NEW = f"age(xmin) <= age(%s::xid) AND NOT pg_visible_in_snapshot({_NUMBER}, %s::pg_snapshot)"
_IS_SHOWN = f"pg_visible_in_snapshot({_NUMBER}, %s::pg_snapshot)"

# What is looked at comes in the order of the index, and no more of it than is needed: all of it only if too little is
# found.
_FIND = f"""
WITH looked_at AS MATERIALIZED (
  SELECT id, {_IS_NEW} AND {{condition}} AS is_wanted
  FROM {TABLE} WHERE customer_id = %s AND id > %s ORDER BY id LIMIT {_LOOKED_AT}
), found AS MATERIALIZED (
  SELECT ARRAY(SELECT id::text FROM looked_at WHERE is_wanted LIMIT %s) AS ids
)
{_NOW}, ids, CASE WHEN cardinality(ids) < %s THEN (SELECT id::text FROM looked_at OFFSET {_LOOKED_AT - 1}) END
FROM found
"""  # noqa: S608 - made of constants

_SIZES = " + ".join(f"octet_length({name})" for name in Event._fields[:TEXT_COUNT])
_FETCH = f"""
SELECT {", ".join(COLUMNS.values())} FROM (
  SELECT *, row_number() OVER (ORDER BY id) AS number,
    sum({_SIZES} + {OBJECT_SIZE}) OVER (ORDER BY id) AS size
  FROM {TABLE} WHERE customer_id = %s AND id = ANY(%s::uuid[])
) AS event WHERE size <= %s OR number = 1 ORDER BY event.id
"""  # noqa: S608 - made of constants


class Watches:
    """The watches of one event loop."""

    def __init__(self, url: str, *, max_waiting: int = 256, timeout: float = 5.0, max_bytes: int = 256 << 10) -> None:
        """Prepare the session, which connects at its first statement.

        Args:
            url: a libpq connection URI or string.
            max_waiting: the number of statements that may wait.
            timeout: seconds until the database gives up a statement.
            max_bytes: the limit on the texts of the events of a step, in bytes, unless it is a single event.
        """
        self._max_bytes = max_bytes
        self._sessions = Sessions(url, NAME, SESSION, connections=1, max_waiting=max_waiting, timeout=timeout)

    async def begin(self, customer_id: str) -> WatchPosition:
        """Return the position behind all that is committed now.

        Raises:
            TooManySearches, DatabaseUnavailable, SearchTimedOut: as `Sessions.run` does.
        """
        ((snapshot, system, timeline, now, _),) = await self._ask(_BEGIN, (customer_id, make_bound(0)))
        seen = Snapshot.parse(snapshot)
        return WatchPosition(system, int(timeline, 16), seen, None, 0, _find_floor(now), now, now, seen.next)

    async def advance(self, query: ListQuery, position: WatchPosition) -> Watched:
        """Return the next events that `query` asks for, if there are any.

        Raises:
            PositionLost: the database is no longer the one whose position this is.
            TooManySearches, DatabaseUnavailable, SearchTimedOut: as `Sessions.run` does.
        """
        seen, upto, last_id = position.seen, position.upto, position.last_id
        filters = dict(query.filters)
        condition = f"{make_condition(filters)} AND id >= %s AND id < %s"
        values = [str(seen.first % _HALF), str(seen)]
        if upto is not None:
            condition = f"{_IS_SHOWN} AND {condition}"
            values.append(str(upto))
        values += [*filters.values(), query.since_id, query.before_id, query.customer_id, last_id]
        ((snapshot, system, timeline, now, ids, end_id),) = await self._ask(
            _FIND.format(condition=condition), (*values, query.page_size, query.page_size)
        )
        current = Snapshot.parse(snapshot)
        is_same = (system, int(timeline, 16)) == (position.system, position.timeline)
        if not is_same or current.next < (upto or seen).next or current.next - seen.first >= _HALF // 2:
            raise PositionLost
        if upto is None:
            position = position._replace(upto=current, upto_at=now)
        events = await self._fetch(query.customer_id, ids)
        if events and events[-1].id != ids[-1]:
            # As many as were small enough. Some of those after them may be erased meanwhile, which makes no difference.
            return Watched(events, position, position._replace(last_id=events[-1].id))
        if len(ids) == query.page_size:
            return Watched(events, position, position._replace(last_id=ids[-1]))
        if end_id is not None:
            return Watched(events, position, position._replace(last_id=end_id))
        return Watched(events, position, _turn(position))

    async def _ask(self, sql: str, values: Sequence[Any]) -> list[Any]:
        try:
            return await self._sessions.run(sql, values)
        except psycopg2.errors.ObjectNotInPrerequisiteState:
            raise DatabaseUnavailable("it is a standby") from None

    async def _fetch(self, customer_id: str, ids: Sequence[str]) -> list[Event]:
        """Return the first of these events, as many as are small enough together."""
        if not ids:
            return []
        return list(map(Event._make, await self._sessions.run(_FETCH, (customer_id, ids, self._max_bytes))))

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self._sessions.abandon()

    async def close(self) -> None:
        """Abandon all calls."""
        await self._sessions.close()


def _turn(position: WatchPosition) -> WatchPosition:
    """Return the position from which the next snapshot is compared with `upto`, all of whose events are done with."""
    upto = position.upto
    assert upto is not None
    floor_at, mark_at, mark = position.floor_at, position.mark_at, position.mark
    if upto.first >= mark:
        # What `upto` does not show has no lower number, so it began after the mark was set.
        floor_at, mark_at, mark = mark_at, position.upto_at, upto.next
    floor_at = max(floor_at, position.upto_at - _PATIENCE_MILLISECONDS)
    return position._replace(
        seen=upto, upto=None, last_id=_find_floor(floor_at), floor_at=floor_at, mark_at=mark_at, mark=mark
    )


def _find_floor(milliseconds: int) -> str:
    """Return what is less than the id of any event whose transaction began at that time or later."""
    return make_bound(milliseconds - _SLACK_MILLISECONDS)
