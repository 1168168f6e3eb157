"""The results of a batch's events, and the response that has them."""

from collections.abc import Sequence

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsResponse
from data_analytics.v1.event_pb2 import EventOutcome
from server.messages.parse import MAX_EVENTS
from server.messages.refusals import FieldViolation

EventResult = tuple[str, str, bool] | list[FieldViolation]
"""What became of one event of a batch: its id, its time and whether it was stored before, or why it is refused.

A plain tuple, because a batch makes many, and a NamedTuple takes five times as long to make.
"""


def to_batch_response(results: Sequence[EventResult]) -> BatchCreateAnalyticsEventsResponse:
    """Return the response to a batch or chunk, given the result of each of its events in order.

    It is parsed from the bytes of its outcomes, in a quarter of the time of setting their fields.
    """
    outcomes = []
    refused_count = 0
    for index, result in enumerate(results):
        if isinstance(result, list):
            refused_count += 1
            outcomes.append(_encode_refused(index, result))
        else:
            event_id, created_at, replayed = result
            before_id, between, end = _REPLAYED[index] if replayed else _STORED[index]
            outcomes.append(f"{before_id}{event_id}{between}{created_at}{end}")
    response = BatchCreateAnalyticsEventsResponse.FromString("".join(outcomes).encode(_CODEC))
    response.stored_count = len(results) - refused_count
    response.refused_count = refused_count
    return response


# Each byte is one character.
_CODEC = "latin-1"


def _encode(*outcomes: EventOutcome) -> str:
    """Return the bytes of a response that has nothing but these outcomes."""
    return BatchCreateAnalyticsEventsResponse(outcomes=outcomes).SerializeToString().decode(_CODEC)


def _encode_refused(index: int, violations: list[FieldViolation]) -> str:
    outcome = EventOutcome(index=index)
    for field, description in violations:
        outcome.refused.violations.add(field=field, description=description)
    return _encode(outcome)


def _split_stored(index: int, *, replayed: bool) -> tuple[str, str, str]:
    """Return the bytes of an event's outcome without its id and its time, which have the same length in all events."""
    event_id, created_at = "00000000-0000-7000-8000-000000000000", "1970-01-01T00:00:00.000Z"
    outcome = EventOutcome(index=index)
    outcome.stored.id, outcome.stored.created_at, outcome.stored.replayed = event_id, created_at, replayed
    before_id, _, rest = _encode(outcome).partition(event_id)
    between, _, end = rest.partition(created_at)
    return before_id, between, end


_STORED, _REPLAYED = (
    [_split_stored(index, replayed=replayed) for index in range(MAX_EVENTS)] for replayed in (False, True)
)
