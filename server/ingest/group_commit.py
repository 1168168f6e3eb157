"""Group commit: when the next commit starts, what it holds, and who waits for it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast

from server.ingest.commit_meter import CommitMeter
from server.ingest.write_queue import Group, Work, WriteQueue
from server.messages.refusals import DeadlineTooShort
from server.metrics.names import name_type
from server.tracing.interface import CommitSpan, Tracer, call_span
from storage import EventStore, Lane, Outcome, StorageError

T = TypeVar("T")

# A commit costs as much as ten events, and callers who were just answered soon return, so the next commit waits a
# moment for them. PostgreSQL's commit_delay and commit_siblings serve the same purpose, but there each event is a
# transaction. Measured with 4 to 64 callers: up to a tenth more creates a second, each for a fifth less of both cores.
_GATHER_MIN_CALLERS = 4
_GATHER_SECONDS = 0.005
_GATHER_MAX_EVENTS = 32

# With this many events waiting, the next group is handed over while one is still being committed, so that neither the
# database nor the event loop waits for the other. Smaller groups do better to grow. Measured with 32 to 256 callers:
# this and the number above gave a tenth more creates a second than 256 and 64 did, and fewer than these cost more.
_OVERLAP_MIN_EVENTS = 24
_MAX_IN_FLIGHT = 2

# A wait this short is not compared with the deadline, because asking a call for its deadline takes time.
_SHORT_WAIT_SECONDS = 0.1

# The wait accepted for a caller without a deadline. Over HTTP, Envoy gives up after 15 s.
_DEFAULT_DEADLINE_SECONDS = 10.0


class GroupCommit:
    """Commits the work of many callers together. Belongs to one event loop.

    Work that arrives alone is committed at once. The busier the server, the larger its groups: a group is what arrived
    while the previous one was being committed and, with several callers about, in the few milliseconds after that.
    """

    def __init__(
        self,
        store: EventStore,
        lane: Lane = Lane.CREATES,
        tracer: Tracer | None = None,
        *,
        max_events: int = 10_000,
        max_bytes: int = 64 << 20,
        max_group_events: int = 1_000,
        max_group_bytes: int = 4 << 20,
    ) -> None:
        """Create an empty queue in front of `store`.

        Args:
            store: where the rows go.
            lane: what they wait behind there.
            tracer: what makes the spans of commits, if calls are traced.
            max_events: how many events may wait.
            max_bytes: how many bytes may wait.
            max_group_events: how many events of several callers one commit may hold. It bounds how long a later event
                waits.
            max_group_bytes: the size in bytes at which a group is full.
        """
        self._store = store
        self._lane = lane
        self._queue = WriteQueue(
            max_events=max_events,
            max_bytes=max_bytes,
            max_group_events=max_group_events,
            max_group_bytes=max_group_bytes,
        )
        self._in_flight: list[Group] = []
        self._meter = CommitMeter(lane.name.lower())
        self._tracer = tracer
        self._pace = _Pace()
        self._is_scheduled = False
        self._gathering: asyncio.TimerHandle | None = None
        self._expected_callers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()

    @property
    def waiting_callers(self) -> int:
        """How many callers wait for a commit that has not started."""
        return self._queue.caller_count

    @property
    def queue(self) -> WriteQueue:
        """What waits for a commit that has not started. For looking at it only."""
        return self._queue

    @property
    def in_flight_seconds(self) -> float:
        """How long the first of the commits in flight has taken, or 0 if there is none."""
        return time.monotonic() - self._in_flight[0].started_at if self._in_flight else 0.0

    def check_deadline(self, get_remaining: Callable[[], float | None]) -> None:
        """Raise DeadlineTooShort if what is written now cannot be committed by the caller's deadline.

        Args:
            get_remaining: returns the seconds until the deadline, or None if the caller has set none.
        """
        if not self._in_flight:
            return
        expected = self._pace.estimate(len(self._in_flight) + self._queue.full_group_count)
        if expected > _SHORT_WAIT_SECONDS:
            remaining = get_remaining()
            if expected > (_DEFAULT_DEADLINE_SECONDS if remaining is None else remaining):
                raise DeadlineTooShort

    async def write(self, work: Work[T]) -> T:
        """Commit the events of `work` together, except those that are refused, and return its response.

        If the caller's task is cancelled before a commit takes the work, nothing is stored. Afterwards the events are
        stored all the same.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
            TooManyWaiting: the queue is full.
            Exception: whatever `work` raises.
        """
        if (fault := self._store.availability.write_fault) is not None:
            raise fault
        response = self._queue.put(work, call_span.get() if self._tracer is not None else None)
        self._idle.clear()
        if self._gathering is not None:
            if self._has_gathered_enough():
                self._start_commit()
        elif not self._in_flight or self._should_overlap():
            self._schedule_commit()
        return cast("T", await response)

    async def close(self) -> None:
        """Wait until everything in the queue is committed."""
        await self._idle.wait()

    def _has_gathered_enough(self) -> bool:
        return self._queue.caller_count >= self._expected_callers or self._queue.event_count >= _GATHER_MAX_EVENTS

    def _should_overlap(self) -> bool:
        return len(self._in_flight) < _MAX_IN_FLIGHT and self._queue.event_count >= _OVERLAP_MIN_EVENTS

    def _schedule_commit(self) -> None:
        # Not at once, so that whatever else is ready in this turn of the event loop joins the group.
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._start_commit)

    def _start_commit(self) -> None:
        """Hand the next group to the store."""
        self._is_scheduled = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if len(self._in_flight) == _MAX_IN_FLIGHT:
            return
        if (fault := self._store.availability.write_fault) is not None:
            self._queue.fail_all(fault)
        group = self._queue.pop_group()
        if group.rows:
            if not self._in_flight:
                self._pace.start()
            group.started_at = time.monotonic()
            self._in_flight.append(group)
            if self._tracer is not None and (calls := group.call_spans):
                group.span = self._tracer.begin_commit(self._lane.name.lower(), calls, len(group.rows))
            self._store.write(group.rows, self._lane).add_done_callback(partial(self._finish_commit, group))
            return
        group.respond([])
        if self._queue.caller_count:
            self._schedule_commit()
        elif not self._in_flight:
            self._idle.set()

    def _finish_commit(self, group: Group, outcomes: "asyncio.Future[list[Outcome]]") -> None:
        """Respond to the callers of a group, and start or gather the next one."""
        self._pace.finish()
        self._in_flight.remove(group)
        seconds = time.monotonic() - group.started_at
        if self._should_overlap():
            # Before the responses, which take as long as the commit when a group has many events.
            self._start_commit()
        self._meter.count(group, outcomes.result(), seconds)
        if group.span is not None:
            _end_span(group.span, outcomes.result())
        group.respond(outcomes.result())
        if self._in_flight:
            return
        # The callers just answered are likely to return; others have arrived meanwhile.
        self._expected_callers = group.caller_count + self._queue.caller_count
        if self._expected_callers < _GATHER_MIN_CALLERS or self._has_gathered_enough():
            self._start_commit()
        else:
            self._gathering = self._loop.call_later(_GATHER_SECONDS, self._start_commit)


def _end_span(span: CommitSpan, outcomes: Sequence[Outcome]) -> None:
    failures = [outcome for outcome in outcomes if isinstance(outcome, StorageError)]
    span.end(len(failures), name_type(type(failures[0])) if failures else "")


class _Pace:
    """How long commits take."""

    def __init__(self) -> None:
        self._started_at = 0.0
        self._last_seconds = 0.0

    def start(self) -> None:
        """Begin to measure a commit."""
        self._started_at = time.monotonic()

    def finish(self) -> None:
        """End the measurement; a commit that overlaps with this one is measured from now on."""
        now = time.monotonic()
        self._last_seconds, self._started_at = now - self._started_at, now

    def estimate(self, commits: int) -> float:
        """Return about how many seconds `commits` take, the one in flight included."""
        # A commit that already takes longer than the last one is the better guess for the next.
        return max(self._last_seconds, time.monotonic() - self._started_at) * commits
