"""The work that waits to be committed, within bounds, and the group that one commit takes from it.

Customers take turns: a group has one work of each, then a second one of each, and so on. So a customer with little to
store does not wait behind one with much.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from server.messages.refusals import TooManyWaiting
from server.sharing.shares import Shares
from server.tracing.interface import CallSpan, CommitSpan
from storage import Outcome, Row

T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """What one caller asks to have stored.

    Its rows are made when a commit takes it, and its response when the commit is done, each in one pass over all of a
    group: the same few functions for one caller after another take a third of the time they take in between other work.
    """

    @property
    def customer(self) -> str:
        """Whose share of the queue it takes, or "" if that cannot be told."""

    @property
    def event_count(self) -> int:
        """The number of its events, at most."""

    @property
    def byte_size(self) -> int:
        """About how many bytes it keeps in memory."""

    def make_rows(self) -> list[Row]:
        """Return the rows to write. Called once. Its caller gets what this raises."""

    def make_response(self, outcomes: Sequence[Outcome]) -> T_co:
        """Return the caller's response, given the outcome of each row. Its caller gets what this raises."""


class _Waiting(NamedTuple):
    """A caller's work, and the future of the response that the caller awaits."""

    work: Work[Any]
    event_count: int
    byte_size: int
    response: "asyncio.Future[Any]"
    since: float
    """When it came, by the monotonic clock."""
    span: CallSpan | None
    """That of the call, if it is traced."""


class Group:
    """The work that is committed together."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.byte_size = 0
        """How many bytes the requests have."""
        self.started_at = 0.0
        """When its commit began, by the monotonic clock."""
        self.span: CommitSpan | None = None
        """That of its commit, if one of its calls is traced."""
        self._callers: list[tuple[_Waiting, int]] = []
        """Each with the number of its rows."""

    @property
    def caller_count(self) -> int:
        """How many callers the group has."""
        return len(self._callers)

    @property
    def call_spans(self) -> list[CallSpan]:
        """The spans of those calls that are traced."""
        return [waiting.span for waiting, _ in self._callers if waiting.span is not None]

    def add(self, waiting: _Waiting, rows: list[Row]) -> None:
        """Add a caller's rows."""
        self.rows += rows
        self.byte_size += waiting.byte_size
        self._callers.append((waiting, len(rows)))

    def respond(self, outcomes: Sequence[Outcome]) -> None:
        """Give each caller, unless it has gone, the response for its rows."""
        start = 0
        for waiting, row_count in self._callers:
            end = start + row_count
            if not waiting.response.done():
                try:
                    waiting.response.set_result(waiting.work.make_response(outcomes[start:end]))
                except Exception as error:  # noqa: BLE001 - raised again in the caller's task
                    waiting.response.set_exception(error)
            start = end


class WriteQueue:
    """The work of each customer in the order of its arrival. Belongs to one event loop."""

    def __init__(self, *, max_events: int, max_bytes: int, max_group_events: int, max_group_bytes: int) -> None:
        """Create an empty queue. For the bounds see `server.ingest.group_commit.GroupCommit`."""
        self._waiting: dict[str, deque[_Waiting]] = {}
        """By customer, the one whose turn is next first."""
        self._callers = 0
        self._events = 0
        self._bytes = 0
        self._event_shares = Shares(max_events)
        self._byte_shares = Shares(max_bytes)
        self._max_group_events = max_group_events
        self._max_group_bytes = max_group_bytes
        self._loop = asyncio.get_running_loop()

    @property
    def caller_count(self) -> int:
        """How many callers wait."""
        return self._callers

    @property
    def event_count(self) -> int:
        """How many events wait, at most."""
        return self._events

    @property
    def byte_size(self) -> int:
        """How many bytes their requests have."""
        return self._bytes

    @property
    def oldest_seconds(self) -> float:
        """How long the first of them has waited."""
        since = min((works[0].since for works in self._waiting.values()), default=None)
        return 0.0 if since is None else time.monotonic() - since

    @property
    def full_group_count(self) -> int:
        """How many full groups wait."""
        return self._events // self._max_group_events + self._bytes // self._max_group_bytes

    def put(self, work: Work[Any], span: CallSpan | None = None) -> "asyncio.Future[Any]":
        """Append `work` and return the future of its response.

        Args:
            work: what to append.
            span: that of the call, if it is traced.

        Raises:
            TooManyWaiting: the queue has no space for it, or its customer has its share.
        """
        customer, event_count, byte_size = work.customer, work.event_count, work.byte_size
        if not self._event_shares.take(customer, event_count):
            raise TooManyWaiting
        if not self._byte_shares.take(customer, byte_size):
            self._event_shares.give_back(customer, event_count)
            raise TooManyWaiting
        response: asyncio.Future[Any] = self._loop.create_future()
        waiting = _Waiting(work, event_count, byte_size, response, time.monotonic(), span)
        if (others := self._waiting.get(customer)) is None:
            self._waiting[customer] = deque((waiting,))
        else:
            others.append(waiting)
        self._callers += 1
        self._events += event_count
        self._bytes += byte_size
        return response

    def pop_group(self) -> Group:
        """Remove and return a group, up to its limits, without the callers that have gone."""
        group = Group()
        events = size = 0
        while self._waiting:
            customer, works = next(iter(self._waiting.items()))
            waiting = works[0]
            if events and (events + waiting.event_count > self._max_group_events or size >= self._max_group_bytes):
                break
            works.popleft()
            del self._waiting[customer]
            if works:
                self._waiting[customer] = works  # Behind the others.
            self._remove(customer, waiting)
            if waiting.response.done():
                continue
            try:
                group.add(waiting, waiting.work.make_rows())
            except Exception as error:  # noqa: BLE001 - raised again in the caller's task
                waiting.response.set_exception(error)
                continue
            events += waiting.event_count
            size += waiting.byte_size
        return group

    def fail_all(self, error: type[Exception]) -> None:
        """Remove everything, and raise `error` in each caller."""
        everything, self._waiting = self._waiting, {}
        for customer, works in everything.items():
            for waiting in works:
                self._remove(customer, waiting)
                if not waiting.response.done():
                    waiting.response.set_exception(error())

    def _remove(self, customer: str, waiting: _Waiting) -> None:
        """Count `waiting` no longer."""
        self._callers -= 1
        self._events -= waiting.event_count
        self._bytes -= waiting.byte_size
        self._event_shares.give_back(customer, waiting.event_count)
        self._byte_shares.give_back(customer, waiting.byte_size)
