"""What lists keep: the events of customers who have many, in segments. See `storage.segments`.

A list that has to look through many events asks for them. Segments are made of all that is closed, each behind the last
one, and small ones are merged, so that their number stays small. Why they stay right is in `storage.keeper`.
"""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from storage.daemon_thread import run_in_daemon_thread
from storage.ids import FIRST, LAST, make_bound
from storage.keeper import CLOSED_MILLISECONDS, Keeper
from storage.openblas import limit_threads
from storage.selection import FILTERS

log = logging.getLogger(__name__)

MIN_EVENTS = 8_192
"""Fewer events are not made a segment of, unless it fills a hole."""

# How many events are read for one, unless they have so many different texts, which take tens of megabytes then.
_READ_EVENTS = 65_536
_MAX_CHARACTERS = 10_000_000

FULL_EVENTS = 262_144
"""Segments that have fewer events are merged once there are enough of them."""

_MAX_SMALL = 16

_MAX_ASKED = 1_000

# How long a customer who has nothing to be kept is not looked at.
_PAUSE_SECONDS = 60.0

# One server at a time makes segments, so that they never take more than a part of the database's time. No other program
# on the database is likely to use the number of the lock: "segments" in ASCII. On a cluster, one server on each node
# does. Of several at the same segment, the last one that claims it goes on, and the others leave the customer alone.
_LOCK = "SELECT pg_try_advisory_lock(%s)"
_UNLOCK = "SELECT pg_advisory_unlock(%s)"
_LOCK_NUMBER = 0x7365676D656E7473
_LOCK_SECONDS = 0.5

_CLEAN = "DELETE FROM list_segment WHERE customer_id = %s AND events IS NULL"
_FIND = """
SELECT start_id::text, end_id::text, events, token::text FROM list_segment
WHERE customer_id = %s AND events IS NOT NULL ORDER BY list_segment.start_id, list_segment.end_id DESC
"""
_FIND_CLOSED = "SELECT (extract(epoch FROM now()) * 1000)::bigint - %s"
_CLAIM = """
INSERT INTO list_segment (customer_id, start_id, end_id, token) VALUES (%s, %s::uuid, %s::uuid, %s::uuid)
ON CONFLICT (customer_id, end_id, start_id) DO NOTHING RETURNING 1
"""
_OF_CLAIM = "WHERE customer_id = %s AND token = %s::uuid AND events IS NULL RETURNING 1"
# In parts: the event loop takes 7 ms to send a megabyte.
_KEEP_IDS = f"UPDATE list_segment SET ids = %s {_OF_CLAIM}"  # noqa: S608 - made of constants
_MERGE_IDS = f"""
UPDATE list_segment SET ids = (
  SELECT string_agg(part.ids, '' ORDER BY part.start_id) FROM list_segment AS part
  WHERE part.customer_id = %s AND part.token = ANY (%s::uuid[])
) {_OF_CLAIM}
"""  # noqa: S608 - made of constants
_KEEP_INDEX = f"UPDATE list_segment SET {{name}}_starts = %s, {{name}} = %s {_OF_CLAIM}"  # noqa: S608 - made of constants
_KEEP = f"UPDATE list_segment SET end_id = %s::uuid, events = %s {_OF_CLAIM}"  # noqa: S608 - made of constants
_READ_INDEX = "SELECT {name} FROM list_segment WHERE customer_id = %s AND token = %s::uuid"
_DELETE = "DELETE FROM list_segment WHERE customer_id = %s AND token = ANY (%s::uuid[])"


class _Segment(NamedTuple):
    start_id: str
    end_id: str
    events: int
    token: str


class ListSegments(Keeper):
    """What keeps segments, one at a time, for one event loop. Customers take turns."""

    def __init__(self, url: str) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string of a database that can be written to.
        """
        super().__init__(url, "list segments")
        self._asked: dict[str, None] = {}
        self._paused: dict[str, float] = {}
        """Until when, by customer."""

    def ask(self, customer_id: str) -> None:
        """Have the closed events of a customer kept, unless there was nothing to be kept just now."""
        if len(self._asked) < _MAX_ASKED and self._paused.get(customer_id, 0) <= self._loop.time():
            self._asked[customer_id] = None
            self.begin()

    async def take_turn(self) -> bool:
        """Make or merge a segment of one of the customers."""
        ((is_mine,),) = await self.execute(_LOCK, (_LOCK_NUMBER,))
        if not is_mine:
            await asyncio.sleep(_LOCK_SECONDS)
            return True
        customer_id = next(iter(self._asked))
        may_be_more = await self._improve(customer_id)
        await self.execute(_UNLOCK, (_LOCK_NUMBER,))
        del self._asked[customer_id]
        if may_be_more:
            self._asked[customer_id] = None  # Behind the others.
        else:
            self._pause(customer_id)
        return bool(self._asked)

    def forget(self) -> None:
        """Forget who has been asked for."""
        self._asked.clear()

    def _pause(self, customer_id: str) -> None:
        now = self._loop.time()
        if len(self._paused) >= _MAX_ASKED:
            self._paused = {each: until for each, until in self._paused.items() if until > now}
        if len(self._paused) < _MAX_ASKED:
            self._paused[customer_id] = now + _PAUSE_SECONDS

    async def _improve(self, customer_id: str) -> bool:
        """Make or merge one segment of a customer. Return whether there may be more to do."""
        await self.execute(_CLEAN, (customer_id,))
        segments = [_Segment(*row) for row in await self.execute(_FIND, (customer_id,))]
        if covered := _find_covered(segments):
            await self.execute(_DELETE, (customer_id, [each.token for each in covered]))
            return True
        if small := _find_small(segments):
            return await self._merge(customer_id, small)
        start_id = FIRST
        for segment in segments:
            if segment.start_id > start_id:
                return await self._make(customer_id, start_id, segment.start_id)
            start_id = segment.end_id
        return await self._make(customer_id, start_id, None)

    async def _claim(self, customer_id: str, start_id: str, end_id: str) -> str | None:
        """Store a claim, and return its token, or None if another server is at it, or events are being erased."""
        token = str(uuid.uuid4())
        is_mine = await self.execute(_CLAIM, (customer_id, start_id, end_id, token))
        return token if is_mine and await self.outlast_writers(customer_id) else None

    async def _make(self, customer_id: str, start_id: str, hole_end_id: str | None) -> bool:
        """Make a segment of the next events.

        Args:
            customer_id: whose.
            start_id: where it begins.
            hole_end_id: where the next segment begins, or None if there is none.
        """
        ((closed,),) = await self.execute(_FIND_CLOSED, (CLOSED_MILLISECONDS,))
        end_id = hole_end_id or make_bound(closed)
        if (token := await self._claim(customer_id, start_id, hole_end_id or LAST)) is None:
            return False
        making, reading = await run_in_daemon_thread(_load, "loading numpy")
        sql, read = reading.make_read(FILTERS), reading.ReadEvents(len(FILTERS))
        next_id, is_last = start_id, False
        while not is_last and read.number < _READ_EVENTS and read.size < _MAX_CHARACTERS:
            ((is_last, ids, *lists),) = await self.execute(sql, (customer_id, next_id, end_id))
            if ids is not None:
                next_id = await run_in_daemon_thread(partial(read.add, bytes(ids), lists), "making a segment")
        if is_last and read.number < MIN_EVENTS and not hole_end_id:
            await self.execute(_CLEAN, (customer_id,))
            return False
        indexes = await run_in_daemon_thread(partial(making.make, read), "making a segment")
        if not await self.execute(_KEEP_IDS, (read.ids, customer_id, token)):
            return False
        await self._keep(customer_id, token, indexes)
        if is_last and hole_end_id:
            next_id = hole_end_id
        await self.execute(_KEEP, (next_id, read.number, customer_id, token))
        log.debug("a segment of lists is made", extra={"events": read.number})
        return True

    async def _merge(self, customer_id: str, parts: Sequence[_Segment]) -> bool:
        """Put small segments together that lie one behind the other."""
        bounds = parts[0].start_id, parts[-1].end_id
        if (token := await self._claim(customer_id, *bounds)) is None:
            return False
        tokens = [part.token for part in parts]
        if not await self.execute(_MERGE_IDS, (customer_id, tokens, customer_id, token)):
            return False
        making, _ = await run_in_daemon_thread(_load, "loading numpy")
        indexes = []
        for name in FILTERS:
            rows = [await self.execute(_READ_INDEX.format(name=name), (customer_id, each)) for each in tokens]
            if not all(rows):  # One was deleted before the claim.
                return True
            packed = [(part.events, bytes(entries)) for part, ((entries,),) in zip(parts, rows, strict=True)]
            indexes.append(await run_in_daemon_thread(partial(making.merge, packed), "merging segments"))
        await self._keep(customer_id, token, indexes)
        # Until the parts are gone, a list finds this one first.
        events = sum(part.events for part in parts)
        if await self.execute(_KEEP, (bounds[1], events, customer_id, token)):
            await self.execute(_DELETE, (customer_id, tokens))
        return True

    async def _keep(self, customer_id: str, token: str, indexes: Sequence[Any]) -> None:
        for name, index in zip(FILTERS, indexes, strict=True):
            await self.execute(_KEEP_INDEX.format(name=name), (*index, customer_id, token))


def _find_covered(segments: Sequence[_Segment]) -> list[_Segment]:
    """Return the segments that are part of another one, of segments that are in the order of their starts."""
    covered = []
    end_id = FIRST
    for segment in segments:
        if segment.end_id <= end_id:
            covered.append(segment)
        end_id = max(end_id, segment.end_id)
    return covered


def _find_small(segments: Sequence[_Segment]) -> list[_Segment]:
    """Return some small segments, one behind the other, that are enough to be merged."""
    run: list[_Segment] = []
    for segment in segments:
        if segment.events >= FULL_EVENTS or (run and run[-1].end_id != segment.start_id):
            run = []
        if segment.events < FULL_EVENTS:
            run.append(segment)
        if len(run) >= _MAX_SMALL or (len(run) > 1 and sum(each.events for each in run) >= FULL_EVENTS):
            return run
    return []


def _load() -> tuple[ModuleType, ModuleType]:
    """Return the modules that need numpy, which takes 0.1 s to load and 17 MB."""
    limit_threads()
    from storage import event_columns, segment_making

    return segment_making, event_columns
