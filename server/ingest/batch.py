"""Many events at once: what both bulk doors do with a batch or a chunk."""

from collections.abc import Sequence
from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
    WriteAnalyticsEventsRequest,
)
from data_analytics.v1.event_pb2 import EventViolation, RefusedEvent
from server.messages.compiled_rules import field_rules
from server.messages.convert import events_of_analytics
from server.messages.validation import FieldViolation, InvalidRequest, check
from storage import Event, EventRefused, KeyInProgress, KeyReused, Outcome, Row, StorageError, row

NOT_STORABLE = "the database cannot store this event"
"""What is said of an event that kept every rule and that the database refused."""


KEY_REUSED = "belongs to another event of this customer: send that event again, or another key"
"""What is said of an event whose idempotency key is not its own."""


KEY_IN_PROGRESS = "is being written by another call, and that takes long: send this event again"


_EVENTS: Any = BatchCreateAnalyticsEventsRequest.DESCRIPTOR.fields_by_name["events"]
MAX_EVENTS = field_rules(_EVENTS).repeated.max_items
"""How many events a batch or a chunk may have."""

# The events of a request of that size, if they were all empty, would take 40 MB.
_SMALL_BYTES = 256 << 10

_EVENT_TAG = _EVENTS.number << 3 | 2


def at_most_events(data: bytes, count: int) -> bytes:
    """The request `data` up to its event of that number: a batch of millions of empty events would fill the memory.

    What is small, or not simply one event after another, is returned as it is, for the parser to judge.
    """
    if len(data) <= _SMALL_BYTES:
        return data
    position = 0
    for _ in range(count):
        if position >= len(data) or data[position] != _EVENT_TAG:
            return data
        position += 1
        size = shift = 0
        for byte in data[position : position + 5]:
            position += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        position += size
    return data[:position]


class Batch:
    """The events of a batch or chunk, as `storage.Writer` takes them: the good ones, with the outcomes of all."""

    def __init__(self, request: BatchCreateAnalyticsEventsRequest | WriteAnalyticsEventsRequest) -> None:
        """Converts the events now, and not when the writer asks for them: they are many, and may be asked for again.

        Raises:
            InvalidRequest: there are no events, or too many.
        """
        check(request)
        self.count = len(request.events)
        self.size = request.ByteSize()
        self._rows: list[Row] = []
        self._refused: dict[int, list[FieldViolation]] = {}
        for index, event in enumerate(events_of_analytics(request.events)):
            if isinstance(event, InvalidRequest):
                self._refused[index] = event.violations
            else:
                self._rows.append(row(event))

    def take(self) -> list[Row]:
        """The good events."""
        return self._rows

    def answer(self, outcomes: Sequence[Outcome]) -> BatchCreateAnalyticsEventsResponse:
        """What became of each event. Raises a StorageError if that is not known of one."""
        answer = BatchCreateAnalyticsEventsResponse()
        add = answer.outcomes.add
        attempts = zip(self._rows, outcomes, strict=True)
        for index in range(self.count):
            if index in self._refused:
                add(index=index, refused=_refused(self._refused[index]))
                continue
            (event, _), outcome = next(attempts)
            match outcome:
                case Event():
                    # Filled in place: a message of its own, to be copied, costs twice as much.
                    stored = add(index=index).stored
                    stored.id, stored.created_at = outcome.id, outcome.created_at
                    stored.replayed = outcome.id != event.id
                    answer.stored_count += 1
                case EventRefused():
                    add(index=index, refused=_refused([FieldViolation("", NOT_STORABLE)]))
                case KeyReused():
                    add(index=index, refused=_refused([FieldViolation("idempotency_key", KEY_REUSED)]))
                case KeyInProgress():
                    add(index=index, refused=_refused([FieldViolation("idempotency_key", KEY_IN_PROGRESS)]))
                case StorageError():
                    raise outcome
        answer.refused_count = self.count - answer.stored_count
        return answer


def _refused(violations: list[FieldViolation]) -> RefusedEvent:
    return RefusedEvent(
        violations=[
            EventViolation(field=violation.field, description=violation.description) for violation in violations
        ]
    )
