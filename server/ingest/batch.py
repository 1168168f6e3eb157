"""Many events in one request: a batch, or a chunk of a write stream."""

from collections.abc import Sequence

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
    WriteAnalyticsEventsRequest,
)
from data_analytics.v1.event_pb2 import EventViolation, RefusedEvent
from server.messages.convert import ANALYTICS
from server.messages.refusals import FieldViolation, InvalidRequest, find_event_violation
from server.messages.validation import check
from storage import Outcome, Row, StorageError, encode_row


class EventBatch:
    """The work of a batch or chunk: the rows of its good events, and the violations of the others."""

    def __init__(self, request: BatchCreateAnalyticsEventsRequest | WriteAnalyticsEventsRequest) -> None:
        """Convert the events now, while another group is being committed, because they are many.

        Raises:
            InvalidRequest: there are no events, or too many.
        """
        check(request)
        self.event_count = len(request.events)
        self.byte_size = request.ByteSize()
        self._rows: list[Row] = []
        self._violations: dict[int, list[FieldViolation]] = {}
        for index, event in enumerate(ANALYTICS.to_events(request.events)):
            if isinstance(event, InvalidRequest):
                self._violations[index] = event.violations
            else:
                self._rows.append(encode_row(event))

    def make_rows(self) -> list[Row]:
        """Return the rows of the good events."""
        return self._rows

    def make_response(self, outcomes: Sequence[Outcome]) -> BatchCreateAnalyticsEventsResponse:
        """Return the outcome of each event.

        Raises:
            StorageError: an event is not known to be stored, for a reason that is not its own.
        """
        response = BatchCreateAnalyticsEventsResponse()
        add = response.outcomes.add
        written = zip(self._rows, outcomes, strict=True)
        for index in range(self.event_count):
            if index in self._violations:
                add(index=index, refused=_make_refusal(self._violations[index]))
                continue
            (event, _), outcome = next(written)
            if not isinstance(outcome, StorageError):
                # Filled in place: a message made first and then copied takes twice as long.
                stored = add(index=index).stored
                stored.id, stored.created_at = outcome.id, outcome.created_at
                stored.replayed = outcome.id != event.id
                response.stored_count += 1
            elif violation := find_event_violation(outcome):
                add(index=index, refused=_make_refusal([violation]))
            else:
                raise outcome
        response.refused_count = self.event_count - response.stored_count
        return response


def _make_refusal(violations: list[FieldViolation]) -> RefusedEvent:
    return RefusedEvent(
        violations=[
            EventViolation(field=violation.field, description=violation.description) for violation in violations
        ]
    )
