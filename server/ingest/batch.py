"""Many events in one request: a batch, or a chunk of a write stream."""

from collections.abc import Iterable, Sequence

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
    WriteAnalyticsEventsRequest,
)
from server.ingest.group_commit import GroupCommit
from server.messages.convert import ANALYTICS, EventResult, to_batch_response
from server.messages.refusals import FieldViolation, InvalidRequest, find_event_violation
from server.messages.validation import check
from storage import Event, Outcome, Row, StorageError, encode_row


class EventBatch:
    """The work of a batch or chunk: the rows of its good events, and the violations of the others."""

    def __init__(self, byte_size: int, customer: str) -> None:
        """Create a batch without events.

        Args:
            byte_size: how many bytes the request has.
            customer: whose share of the queue it takes.
        """
        self.event_count = 0
        self.byte_size = byte_size
        self.customer = customer
        self._rows: list[Row] = []
        self._violations: dict[int, list[FieldViolation]] = {}

    def add(self, events: Iterable[Event | InvalidRequest]) -> None:
        """Add events, or what is wrong with them, in the order of the request."""
        for event in events:
            if isinstance(event, InvalidRequest):
                self._violations[self.event_count] = event.violations
            else:
                self._rows.append(encode_row(event))
            self.event_count += 1

    def make_rows(self) -> list[Row]:
        """Return the rows of the good events."""
        return self._rows

    def make_response(self, outcomes: Sequence[Outcome]) -> list[EventResult]:
        """Return the result of each event.

        Raises:
            StorageError: an event is not known to be stored, for a reason that is not its own.
        """
        written = zip(self._rows, outcomes, strict=True)
        if not self._violations:
            return [_make_result(event.id, outcome) for (event, _), outcome in written]
        results: list[EventResult] = []
        for index in range(self.event_count):
            if index in self._violations:
                results.append(self._violations[index])
            else:
                (event, _), outcome = next(written)
                results.append(_make_result(event.id, outcome))
        return results


def _make_result(event_id: str, outcome: Outcome) -> EventResult:
    """Return the result of an event that was written under `event_id`, or raise a StorageError that is not its own."""
    if not isinstance(outcome, StorageError):
        return outcome.id, outcome.created_at, outcome.id != event_id
    if violation := find_event_violation(outcome):
        return [violation]
    raise outcome


def read_batch(request: BatchCreateAnalyticsEventsRequest | WriteAnalyticsEventsRequest, customer: str) -> EventBatch:
    """Return the work of a batch or chunk. Its events are converted now, while another group is being committed.

    Args:
        request: the batch or chunk.
        customer: whose share of the queue it takes.

    Raises:
        InvalidRequest: there are no events, or too many.
    """
    check(request)
    batch = EventBatch(request.ByteSize(), customer)
    batch.add(ANALYTICS.to_events(request.events))
    return batch


async def write_batch(commits: GroupCommit, batch: EventBatch) -> BatchCreateAnalyticsEventsResponse:
    """Store a batch and return its response, as `GroupCommit.write` does."""
    return to_batch_response(await commits.write(batch))
