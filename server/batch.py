"""Many events at once: what both bulk doors do with a batch or a chunk."""

from collections.abc import Awaitable, Callable, Iterable

from analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
    CreateAnalyticsEventRequest,
    WriteAnalyticsEventsRequest,
)
from analytics.v1.event_pb2 import EventViolation, RefusedEvent, StoredEvent
from server.convert import event_of_analytics
from server.validation import FieldViolation, InvalidRequest, check
from storage import Event

NOT_STORABLE = "the database cannot store this event"
"""What is said of an event that kept every rule and that the database refused."""


async def store_batch(
    request: BatchCreateAnalyticsEventsRequest | WriteAnalyticsEventsRequest,
    store_all: Callable[[list[Event]], Awaitable[list[bool]]],
) -> BatchCreateAnalyticsEventsResponse:
    """Has the good events of `request` stored by `store_all` and tells of each what became of it.

    Raises:
        InvalidRequest: there are no events, or too many.
        StorageError: what `store_all` raises.
    """
    check(request)
    events, refused = _events(request.events)
    return _outcomes(len(request.events), events, await store_all(events), refused)


def _events(
    requests: Iterable[CreateAnalyticsEventRequest],
) -> tuple[list[Event], dict[int, list[FieldViolation]]]:
    """The events that `requests` ask to store, and by their index the violations of those that break a rule."""
    events = []
    refused = {}
    for index, request in enumerate(requests):
        try:
            events.append(event_of_analytics(request))
        except InvalidRequest as error:
            refused[index] = error.violations
    return events, refused


def _outcomes(
    count: int, events: list[Event], stored: list[bool], refused: dict[int, list[FieldViolation]]
) -> BatchCreateAnalyticsEventsResponse:
    """What became of each of `count` events: those of `events` by `stored`, the others refused."""
    answer = BatchCreateAnalyticsEventsResponse(stored_count=sum(stored), refused_count=count - sum(stored))
    add = answer.outcomes.add
    attempts = zip(events, stored, strict=True)
    for index in range(count):
        if index in refused:
            violations = [
                EventViolation(field=violation.field, description=violation.description) for violation in refused[index]
            ]
            add(index=index, refused=RefusedEvent(violations=violations))
            continue
        event, is_stored = next(attempts)
        if is_stored:
            add(index=index, stored=StoredEvent(id=event.id, created_at=event.created_at))
        else:
            add(index=index, refused=RefusedEvent(violations=[EventViolation(description=NOT_STORABLE)]))
    return answer
