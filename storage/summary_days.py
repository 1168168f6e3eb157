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
import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import psycopg2

from storage.columns import DAY_MILLISECONDS, ID_BYTES, ColumnMaker, find_times, make_times, read_ids
from storage.copier import SESSION
from storage.daemon_thread import run_in_daemon_thread
from storage.errors import DatabaseUnavailable
from storage.event_columns import add_texts, find_next_id, make_read
from storage.ids import make_bound
from storage.listing import FILTERS as TEXTS
from storage.single_connection import SingleConnection

log = logging.getLogger(__name__)

MIN_EVENTS = 500
"""Days with fewer events are not kept."""

# Larger days are not kept either. They would take too much memory at once.
_MAX_EVENTS = 500_000
_MAX_CHARACTERS = 32 << 20

_MAX_ASKED = 1_000
_STATEMENT_SECONDS = 10.0
_WRITERS_SECONDS = 5.0

_COLUMNS = [f"{name}_{part}" for name in TEXTS for part in ("codes", "hashes")]

# Citus allows no now() behind ON CONFLICT.
_CLAIM = """
INSERT INTO summary_day (customer_id, day, token, claimed_at)
SELECT %s, day, %s::uuid, now() FROM (SELECT date 'epoch' + %s AS day) AS asked
WHERE now() >= (day + 1)::timestamp AT TIME ZONE 'UTC' + interval '1 hour'
ON CONFLICT (customer_id, day) DO UPDATE SET token = excluded.token, claimed_at = excluded.claimed_at
  WHERE summary_day.events IS NULL AND excluded.claimed_at - summary_day.claimed_at > interval '1 minute'
RETURNING 1
"""
# What writes locks the table before it writes, and everybody may see that.
_FIND_WRITERS = """
SELECT (SELECT count(*) FROM erasure WHERE customer_id = %s AND finished_at IS NULL),
  ARRAY(SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'analytics_event'::regclass AND mode = 'RowExclusiveLock')
"""
_COUNT_WRITERS = "SELECT count(*) FROM pg_locks WHERE virtualtransaction = ANY(%s)"
_READ = make_read(TEXTS)
_KEEP = f"""
UPDATE summary_day SET events = %s, ids = %s, times = %s, {", ".join(f"{name} = %s" for name in _COLUMNS)}
WHERE customer_id = %s AND day = date 'epoch' + %s AND token = %s::uuid AND events IS NULL
"""  # noqa: S608 - made of constants


class SummaryDays:
    """What keeps days, one at a time, for one event loop."""

    def __init__(self, url: str) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string of a database that can be written to.
        """
        # What is lost with a machine is kept anew. So no day waits for a standby, and none hangs while that is away.
        settings = SESSION | {"synchronous_commit": "local"}
        self._connection = SingleConnection(url, "analytics summary days", settings, _STATEMENT_SECONDS)
        self._asked: dict[tuple[str, int], None] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def ask(self, customer_id: str, days: Iterable[int]) -> None:
        """Have days kept, if they are over and can be.

        Args:
            customer_id: whose.
            days: the days since 1970-01-01.
        """
        for day in days:
            if len(self._asked) < _MAX_ASKED:
                self._asked.setdefault((customer_id, day))
        if self._asked and self._task is None:
            self._task = self._loop.create_task(self._keep_all())

    def disconnect(self) -> None:
        """Close the connection. What is in flight fails."""
        self._connection.disconnect()

    async def close(self) -> None:
        """Stop working."""
        self._asked.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.disconnect()

    async def _keep_all(self) -> None:
        try:
            while self._asked:
                customer_id, day = next(iter(self._asked))
                start = self._loop.time()
                await self._keep(customer_id, day)
                del self._asked[customer_id, day]
                await asyncio.sleep(self._loop.time() - start)  # Half of the time is for others.
        except (DatabaseUnavailable, psycopg2.Error) as error:
            # The summaries are right without. The next one asks again.
            log.warning("a day of summaries is not kept", extra={"reason": str(error).partition("\n")[0]})
            self._asked.clear()
        except Exception:
            log.exception("unexpected error in what keeps days of summaries")
            self._asked.clear()
        finally:
            self._task = None

    async def _keep(self, customer_id: str, day: int) -> None:
        """Keep a day, unless it is not over, another server is at it, or events are being erased."""
        token = str(uuid.uuid4())
        if not await self._connection.execute(_CLAIM, (customer_id, token, day)):
            return
        ((erasures, writers),) = await self._connection.execute(_FIND_WRITERS, (customer_id,))
        if erasures or not await self._outlast(writers):
            return
        start = day * DAY_MILLISECONDS
        made = _Day(start)
        next_id, end_id = make_bound(start), make_bound(start + DAY_MILLISECONDS)
        while (read := (await self._connection.execute(_READ, (customer_id, next_id, end_id)))[0])[0] is not None:
            next_id = await run_in_daemon_thread(partial(made.add, read), "keeping a day")
            if made.is_too_large:
                return
        values = await run_in_daemon_thread(made.make, "keeping a day")
        await self._connection.execute(_KEEP, (*values, customer_id, day, token))
        log.debug("a day of summaries is kept", extra={"events": values[0]})

    async def _outlast(self, writers: Sequence[str]) -> bool:
        """Return whether all writers have ended, soon enough."""
        end = self._loop.time() + _WRITERS_SECONDS
        while writers and self._loop.time() < end:
            ((left,),) = await self._connection.execute(_COUNT_WRITERS, (list(writers),))
            if not left:
                return True
            await asyncio.sleep(0.05)
        return not writers


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

    def add(self, read: Sequence[Any]) -> str:
        """Append events that were read, and return the id at which to go on."""
        ids, *lists = read
        self._ids.append(bytes(ids))
        add_texts(self._makers, lists)
        return find_next_id(self._ids[-1])

    def make(self) -> list[Any]:
        """Return the values that are kept."""
        ids = b"".join(self._ids)
        times = find_times(read_ids(ids))
        columns = [maker.make() for maker in self._makers]
        return [len(times), ids, make_times(times, self._start), *(each.tobytes() for pair in columns for each in pair)]
