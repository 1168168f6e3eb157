"""What summaries keep: the events of a customer on a day that is over, as columns.

A day that has many events is kept once a summary has read it from the events table. Later summaries read it here, which
takes a small part of the time. Why it stays right is in `storage.keeper`.
"""

import logging
import time
import uuid
from collections.abc import Iterable
from functools import partial
from typing import Any

from storage.columns import find_times, make_times, read_ids
from storage.daemon_thread import run_in_daemon_thread
from storage.event_columns import ReadEvents, make_read
from storage.ids import DAY_MILLISECONDS, make_bound
from storage.keeper import CLOSED_MILLISECONDS, Keeper
from storage.selection import FILTERS as TEXTS

log = logging.getLogger(__name__)

MIN_EVENTS = 500
"""Days with fewer events are not kept."""

# Nor are larger ones, of 150,000 to 200,000 events, or of half as many that have nothing in common. The event loop
# takes 40 ms to send them.
_MAX_BYTES = 6 << 20
_MAX_EVENTS = 300_000
_MAX_CHARACTERS = 10_000_000

# Of each customer as many as a summary may have, and of ten customers.
_MAX_DAYS = 400
_MAX_ASKED = 10 * _MAX_DAYS

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
_READ = make_read(TEXTS)
_GIVE_UP = """
UPDATE summary_day SET claimed_at = now() + interval '100 years'
WHERE customer_id = %s AND day = date 'epoch' + %s AND token = %s::uuid AND events IS NULL
"""
_KEEP = f"""
UPDATE summary_day SET events = %s, ids = %s, times = %s, {", ".join(f"{name} = %s" for name in _COLUMNS)}
WHERE customer_id = %s AND day = date 'epoch' + %s AND token = %s::uuid AND events IS NULL
"""  # noqa: S608 - made of constants


class SummaryDays(Keeper):
    """What keeps days, one at a time, for one event loop. Customers take turns."""

    def __init__(self, url: str) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string of a database that can be written to.
        """
        super().__init__(url, "summary days")
        self._asked: dict[str, dict[int, None]] = {}

    def ask(self, customer_id: str, days: Iterable[int]) -> None:
        """Have days kept, if they are over and can be.

        Args:
            customer_id: whose.
            days: the days since 1970-01-01.
        """
        latest = (time.time_ns() // 1_000_000 - CLOSED_MILLISECONDS) // DAY_MILLISECONDS
        room = _MAX_ASKED - sum(map(len, self._asked.values()))
        asked = [day for day in days if day < latest][: min(room, _MAX_DAYS)]
        if asked:
            of_customer = self._asked.setdefault(customer_id, {})
            of_customer |= dict.fromkeys(asked[: _MAX_DAYS - len(of_customer)])
            self.begin()

    async def take_turn(self) -> bool:
        """Keep one of the days that are asked for."""
        customer_id, days = next(iter(self._asked.items()))
        day = next(iter(days))
        await self._keep(customer_id, day)
        del self._asked[customer_id], days[day]
        if days:
            self._asked[customer_id] = days  # Behind the others.
        return bool(self._asked)

    def forget(self) -> None:
        """Forget which days are asked for."""
        self._asked.clear()

    async def _keep(self, customer_id: str, day: int) -> None:
        """Keep a day, unless it is not over, another server is at it, or events are being erased."""
        token = str(uuid.uuid4())
        if not await self.execute(_CLAIM, (customer_id, token, day)) or not await self.outlast_writers(customer_id):
            return
        start = day * DAY_MILLISECONDS
        made = _Day(start)
        next_id, end_id, is_last = make_bound(start), make_bound(start + DAY_MILLISECONDS), False
        while not is_last and not made.is_too_large:
            ((is_last, ids, *lists),) = await self.execute(_READ, (customer_id, next_id, end_id))
            if ids is not None:
                next_id = await run_in_daemon_thread(partial(made.add, bytes(ids), lists), "keeping a day")
        values = await run_in_daemon_thread(made.make, "keeping a day") if is_last else []
        if is_last and sum(map(len, values[1:])) <= _MAX_BYTES:
            await self.execute(_KEEP, (*values, customer_id, day, token))
            log.debug("a day of summaries is kept", extra={"events": values[0]})
        else:
            await self.execute(_GIVE_UP, (customer_id, day, token))


class _Day(ReadEvents):
    """A day that is being read."""

    def __init__(self, start: int) -> None:
        super().__init__(len(TEXTS))
        self._start = start

    @property
    def is_too_large(self) -> bool:
        """Whether it must not be kept."""
        return self.number > _MAX_EVENTS or self.size > _MAX_CHARACTERS

    def make(self) -> list[Any]:
        """Return the values that are kept."""
        ids = self.ids
        times = find_times(read_ids(ids))
        columns = [maker.make() for maker in self.columns]
        return [len(times), ids, make_times(times, self._start), *(each.tobytes() for pair in columns for each in pair)]
