"""Many events in one request: a batch, or a chunk of a write stream."""

import asyncio
import time
from collections.abc import Sequence

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
)
from server.access.caller import Caller
from server.ingest.group_commit import GroupCommit
from server.messages.batch_response import EventResult, to_batch_response
from server.messages.convert import ANALYTICS
from server.messages.explanations import Explanations
from server.messages.parse import MAX_EVENTS, parse_slice, split_events
from server.messages.refusals import InvalidRequest, Reporter, TooManyWaiting
from server.messages.statuses import find_event_violation
from server.messages.validation import check_count
from server.messages.wording import EVENT_NOT_PERMITTED
from storage import Event, Outcome, Row, StorageError, encode_rows

# How long a batch may wait after its events were given their ids: see `storage.copier.LATEST_SECONDS`.
_FRESH_SECONDS = 20.0


class EventBatch:
    """The work of a batch or chunk: the rows of its good events, and the violations of the others."""

    def __init__(self, byte_size: int, customer: str, caller: Caller) -> None:
        """Create a batch without events.

        Args:
            byte_size: how many bytes the request has.
            customer: whose share of the queue it takes.
            caller: who asks for it.
        """
        self.caller = caller
        self.refused: list[InvalidRequest] = []
        """What was refused. Known once there is a response, as is `replayed`."""
        self.replayed: list[Event] = []
        """The events that were stored before."""
        self._read_at = time.monotonic()
        self.event_count = 0
        self.byte_size = byte_size
        self.customer = customer
        self._rows: list[Row] = []
        self._refused: dict[int, InvalidRequest] = {}

    def add(self, events: Sequence[Event | InvalidRequest]) -> None:
        """Add events, or what is wrong with them, in the order of the request."""
        may_write = self.caller.may_write
        good = [
            event
            for event in events
            if not isinstance(event, InvalidRequest) and may_write(event.customer_id, event.user_id)
        ]
        if len(good) < len(events):
            for index, event in enumerate(events, self.event_count):
                if isinstance(event, InvalidRequest):
                    self._refused[index] = event
                elif not may_write(event.customer_id, event.user_id):
                    self._refused[index] = InvalidRequest([EVENT_NOT_PERMITTED], _find_reporter(event))
        self._rows += encode_rows(good)
        self.event_count += len(events)

    @property
    def is_fresh(self) -> bool:
        """Whether it may still be stored: the ids of its events say when that was asked for."""
        return time.monotonic() < self._read_at + _FRESH_SECONDS

    def make_rows(self) -> list[Row]:
        """Return the rows of the good events.

        Raises:
            TooManyWaiting: the batch has waited for too long.
        """
        if not self.is_fresh:
            raise TooManyWaiting
        return self._rows

    def make_response(self, outcomes: Sequence[Outcome]) -> list[EventResult]:
        """Return the result of each event.

        Raises:
            StorageError: an event is not known to be stored, for a reason that is not its own.
        """
        events = [row.event for row in self._rows]
        if not self._refused and outcomes == events:
            return [(event.id, event.created_at, False) for event in events]
        written = zip(events, outcomes, strict=True)
        results: list[EventResult] = []
        for index in range(self.event_count):
            if index in self._refused:
                refused = self._refused[index]
                self.refused.append(refused)
                results.append(refused.violations)
            else:
                event, outcome = next(written)
                results.append(self._make_result(event, outcome))
        return results

    def _make_result(self, event: Event, outcome: Outcome) -> EventResult:
        """Return the result of an event that was written, or raise a StorageError that is not its own."""
        if not isinstance(outcome, StorageError):
            is_replayed = outcome.id != event.id
            if is_replayed:
                self.replayed.append(outcome)
            return outcome.id, outcome.created_at, is_replayed
        if violation := find_event_violation(outcome):
            self.refused.append(InvalidRequest([violation], _find_reporter(event)))
            return [violation]
        raise outcome


def _find_reporter(event: Event) -> Reporter:
    return Reporter(event.customer_id, event.tool_signature)


async def read_batch(data: bytes, customer: str, caller: Caller) -> EventBatch:
    """Return the work of a batch or chunk. Its events are converted now, while another group is being committed.

    Args:
        data: the batch or chunk.
        customer: whose share of the queue it takes.
        caller: who asks for it.

    Raises:
        MalformedMessage: it does not parse.
        InvalidRequest: there are no events, or too many.
    """
    slices = split_events(data)
    count = sum(part.events for part in slices)
    if not 0 < count <= MAX_EVENTS:
        check_count(BatchCreateAnalyticsEventsRequest(), "events", count)
    batch = EventBatch(len(data), customer, caller)
    explanations = Explanations()
    for part in slices:
        events = parse_slice(data, part)
        if isinstance(events, InvalidRequest):
            batch.add([explanations.refuse(events.violations)])
        else:
            batch.add(ANALYTICS.to_events(events, explanations))
        await asyncio.sleep(0)  # A large batch must not hold up other calls.
    return batch


async def write_batch(commits: GroupCommit, batch: EventBatch) -> BatchCreateAnalyticsEventsResponse:
    """Store a batch and return its response, as `GroupCommit.write` does."""
    return to_batch_response(await commits.write(batch))
