"""What summaries keep: the events of a customer on a day that is over, as columns.

A day that has many events is kept once a summary has read it from the events table. Later summaries read it here, which
takes a small part of the time. What is kept is right for as long as it is there:

- A day that is over gets no further event. The transaction that stores an event begins at most
  `storage.copier.LATEST_SECONDS` after the event was given its time. A day is read an hour after its end, once those
  transactions have ended that were writing then.
- With the events of a day, `erase_step` deletes what is kept of the day, in the same transaction. Nothing is kept while
  an erasure of the customer is not finished. An erasure that begins later finds the row of the day, which is stored
  before the events are read. What was read is kept only if that row is still there.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import psycopg2

from storage.async_connection import AsyncConnection
from storage.columns import ID_BYTES, ColumnMaker, find_times, make_times, read_ids
from storage.copier import SESSION
from storage.daemon_thread import run_in_daemon_thread
from storage.errors import DatabaseUnavailable
from storage.event_columns import add_texts, find_next_id, make_read
from storage.ids import DAY_MILLISECONDS, make_bound
from storage.listing import FILTERS as TEXTS

log = logging.getLogger(__name__)

MIN_EVENTS = 500
"""Days with fewer events are not kept."""

# Nor are larger ones, of 150,000 to 200,000 events, or of half as many that have nothing in common. The event loop
# takes 40 ms to send them.
_MAX_BYTES = 6 << 20
_MAX_EVENTS = 300_000
_MAX_CHARACTERS = 10_000_000

_CLOSED_MILLISECONDS = 3_600_000

# Of each customer as many as a summary may have, and of ten customers.
_MAX_DAYS = 400
_MAX_ASKED = 10 * _MAX_DAYS

_STATEMENT_SECONDS = 10.0
_WRITERS_SECONDS = 5.0

# What is lost with a machine is kept anew. So no day waits for a standby, and none hangs while that is away.
_SETTINGS = SESSION | {"synchronous_commit": "local", "statement_timeout": f"{_STATEMENT_SECONDS:.0f}s"}

_COLUMNS = [f"{name}_{part}" for name in TEXTS for part in ("codes", "hashes")]

# Citus allows no now() behind ON CONFLICT.
_CLAIM = """
INSERT INTO summary_day (customer_id, day, token, claimed_at)
SELECT %s, day, %s::uuid, now() FROM (SELECT date 'epoch' + %s AS day) AS asked
WHERE now() >= (day + 1)::timestamp AT TIME ZONE 'UTC' + interval '1 hour'
ON CONFLICT (customer_id, day) DO UPDATE SET token = excluded.token, claimed_at = excluded.claimed_at
  WHERE summary_day.events IS NULL AND excluded.claimed_at - summary_day.claimed_at > interval '5 minutes'
RETURNING 1
"""
# What writes locks the table before it writes, and everybody may see that.
_FIND_WRITERS = """
SELECT (SELECT count(*) FROM erasure WHERE customer_id = %s AND finished_at IS NULL),
  ARRAY(SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'analytics_event'::regclass AND mode = 'RowExclusiveLock')
"""
# A transaction that is prepared meanwhile has another name from then on.
_COUNT_WRITERS = """
SELECT (SELECT count(*) FROM pg_locks WHERE virtualtransaction = ANY(%s)) + (SELECT count(*) FROM pg_prepared_xacts)
"""
_READ = make_read(TEXTS)
_GIVE_UP = """
UPDATE summary_day SET claimed_at = now() + interval '100 years'
WHERE customer_id = %s AND day = date 'epoch' + %s AND token = %s::uuid AND events IS NULL
"""
_KEEP = f"""
UPDATE summary_day SET events = %s, ids = %s, times = %s, {", ".join(f"{name} = %s" for name in _COLUMNS)}
WHERE customer_id = %s AND day = date 'epoch' + %s AND token = %s::uuid AND events IS NULL
"""  # noqa: S608 - made of constants


class SummaryDays:
    """What keeps days, one at a time, for one event loop. Customers take turns."""

    def __init__(self, url: str) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string of a database that can be written to.
        """
        self._url = url
        self._asked: dict[str, dict[int, None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._loop = asyncio.get_running_loop()

    def ask(self, customer_id: str, days: Iterable[int]) -> None:
        """Have days kept, if they are over and can be.

        Args:
            customer_id: whose.
            days: the days since 1970-01-01.
        """
        latest = (time.time_ns() // 1_000_000 - _CLOSED_MILLISECONDS) // DAY_MILLISECONDS
        room = _MAX_ASKED - sum(map(len, self._asked.values()))
        asked = [day for day in days if day < latest][: min(room, _MAX_DAYS)]
        if asked:
            of_customer = self._asked.setdefault(customer_id, {})
            of_customer |= dict.fromkeys(asked[: _MAX_DAYS - len(of_customer)])
            if self._task is None:
                self._task = self._loop.create_task(self._keep_all())

    def disconnect(self) -> None:
        """Close the connection. What is in flight fails, and the work ends."""
        if self._connection is not None:
            self._connection.close()

    async def close(self) -> None:
        """Stop working."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_all(self) -> None:
        """Keep the days that are asked for.

        All of it happens on one connection. A database that takes over from this one may lack an event, or an erasure.
        """
        try:
            self._connection = await AsyncConnection.open(self._url, "analytics summary days", _SETTINGS)
            while self._asked:
                customer_id, days = next(iter(self._asked.items()))
                day = next(iter(days))
                start = self._loop.time()
                if not await self._keep(customer_id, day):
                    break  # It would be the same with the others. The next summary asks again.
                del self._asked[customer_id], days[day]
                if days:
                    self._asked[customer_id] = days  # Behind the others.
                await asyncio.sleep(self._loop.time() - start)  # Half of the time is for who writes and searches.
        except (DatabaseUnavailable, TimeoutError, psycopg2.Error) as error:
            # The summaries are right without.
            reason = str(getattr(error, "pgcode", None) or error).partition("\n")[0]
            log.warning("days of summaries are not kept", extra={"reason": reason})
        except Exception:
            log.exception("unexpected error in what keeps days of summaries")
        finally:
            self._asked.clear()
            self._task = None
            self.disconnect()
            self._connection = None

    async def _execute(self, sql: str, values: Sequence[Any]) -> list[Any]:
        assert self._connection is not None
        async with asyncio.timeout(_STATEMENT_SECONDS + 1):
            return await self._connection.execute(sql, values)

    async def _keep(self, customer_id: str, day: int) -> bool:
        """Keep a day, unless it is not over, another server is at it, or events are being erased.

        Return whether it is worthwhile to go on with others.
        """
        token = str(uuid.uuid4())
        if not await self._execute(_CLAIM, (customer_id, token, day)):
            return True
        ((erasures, writers),) = await self._execute(_FIND_WRITERS, (customer_id,))
        if erasures:
            return True
        if not await self._outlast(writers):
            log.info("days of summaries are not kept: a transaction is writing for too long")
            return False
        start = day * DAY_MILLISECONDS
        made = _Day(start)
        next_id, end_id, is_last = make_bound(start), make_bound(start + DAY_MILLISECONDS), False
        while not is_last and not made.is_too_large:
            ((is_last, ids, *lists),) = await self._execute(_READ, (customer_id, next_id, end_id))
            if ids is not None:
                next_id = await run_in_daemon_thread(partial(made.add, bytes(ids), lists), "keeping a day")
        values = await run_in_daemon_thread(made.make, "keeping a day") if is_last else []
        if is_last and sum(map(len, values[1:])) <= _MAX_BYTES:
            await self._execute(_KEEP, (*values, customer_id, day, token))
            log.debug("a day of summaries is kept", extra={"events": values[0]})
        else:
            await self._execute(_GIVE_UP, (customer_id, day, token))
        return True

    async def _outlast(self, writers: Sequence[str]) -> bool:
        """Return whether all writers have ended, soon enough."""
        end = self._loop.time() + _WRITERS_SECONDS
        while writers:
            ((left,),) = await self._execute(_COUNT_WRITERS, (list(writers),))
            if not left:
                break
            if self._loop.time() > end:
                return False
            await asyncio.sleep(0.05)
        return True


class _Day:
    """A day that is being read."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._ids: list[bytes] = []
        self._makers = [ColumnMaker() for _ in TEXTS]

    @property
    def is_too_large(self) -> bool:
        """Whether it must not be kept."""
        events = sum(map(len, self._ids)) // ID_BYTES
        return events > _MAX_EVENTS or sum(maker.size for maker in self._makers) > _MAX_CHARACTERS

    def add(self, ids: bytes, lists: Sequence[str]) -> str:
        """Append events that were read, and return the id at which to go on."""
        self._ids.append(ids)
        add_texts(self._makers, lists)
        return find_next_id(self._ids[-1])

    def make(self) -> list[Any]:
        """Return the values that are kept."""
        ids = b"".join(self._ids)
        times = find_times(read_ids(ids))
        columns = [maker.make() for maker in self._makers]
        return [len(times), ids, make_times(times, self._start), *(each.tobytes() for pair in columns for each in pair)]
