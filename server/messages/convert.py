"""Messages to what storage takes, and back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from data_analytics.v1.contact_analytics_service_pb2 import (
    CreateContactAnalyticsEventRequest,
    SearchContactAnalyticsEventsRequest,
)
from data_analytics.v1.event_pb2 import (
    AnalyticsEvent,
    ContactAnalyticsEvent,
    LeadAnalyticsEvent,
    PageMeta,
)
from data_analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsRequest,
)
from server.messages.compiled_rules import Texts, field_rules
from server.messages.validation import FieldViolation, InvalidRequest, check, violations_of
from server.messages.version_info import InvalidVersionInfo, to_json
from storage import TEXTS, Event, Found, Page, Query, new_id_and_time

CreateRequest = CreateAnalyticsEventRequest | CreateLeadAnalyticsEventRequest | CreateContactAnalyticsEventRequest
SearchRequest = SearchLeadAnalyticsEventsRequest | SearchContactAnalyticsEventsRequest


_SEARCH: Any = SearchLeadAnalyticsEventsRequest.DESCRIPTOR
MAX_RECORDINGS = field_rules(_SEARCH.fields_by_name["recording_id"]).repeated.max_items
DEFAULT_PAGE = 1
DEFAULT_PAGE_SIZE = 10

_SENT = Event._fields[:TEXTS]
_ENTITY = _SENT.index("entity_type")
_KEY = _SENT.index("idempotency_key")
MAX_KEY = 255
"""The longest idempotency key, in characters."""


def _texts(message: Any, *entity: str) -> Texts:
    """The string fields of a create request in the order of `Event`; `entity` stands in place of type and id."""
    names = [*_SENT[:_ENTITY], *entity, *_SENT[_ENTITY + 2 :]]
    return Texts(message, [name for name in names if name in message.fields_by_name])


_ANALYTICS = _texts(CreateAnalyticsEventRequest.DESCRIPTOR, "entity_type", "entity_id")
_LEAD = _texts(CreateLeadAnalyticsEventRequest.DESCRIPTOR, "lead_id", "entity_id")
_CONTACT = _texts(CreateContactAnalyticsEventRequest.DESCRIPTOR, "contact_id", "entity_id")


def event_of_analytics(request: CreateAnalyticsEventRequest, key: str = "") -> Event:
    """The event that `request` asks to store, under a new id.

    Args:
        request: of a caller.
        key: the idempotency key that came beside it, or "".

    Raises:
        InvalidRequest: the request breaks a rule, in its annotations or in `server.messages.version_info`.
    """
    return _event(request, _ANALYTICS, key)


def events_of_analytics(requests: Sequence[CreateAnalyticsEventRequest]) -> Iterator[Event | InvalidRequest]:
    """As `event_of_analytics`, for many at once: of each the event, or what is wrong with it."""
    rows = list(map(_ANALYTICS.read, requests))
    are_good = bool(rows) and _ANALYTICS.all_keep_rules(rows)
    for request, values in zip(requests, rows, strict=True):
        violations = [] if are_good or _ANALYTICS.keep_rules(values) else violations_of(request)
        try:
            yield _checked(request, values, violations)
        except InvalidRequest as error:
            yield error


def event_of_lead(request: CreateLeadAnalyticsEventRequest, key: str = "") -> Event:
    """As `event_of_analytics`, for a lead under either name."""
    if request.entity_id == request.lead_id:
        request.ClearField("entity_id")
    return _event(request, _LEAD, key, "lead")


def event_of_contact(request: CreateContactAnalyticsEventRequest, key: str = "") -> Event:
    """As `event_of_analytics`, for a contact under either name."""
    if request.entity_id == request.contact_id:
        request.ClearField("entity_id")
    return _event(request, _CONTACT, key, "contact")


def _event(request: CreateRequest, texts: Texts, key: str, entity_type: str | None = None) -> Event:
    values = texts.read(request)
    return _checked(request, values, [] if texts.keep_rules(values) else violations_of(request), key, entity_type)


def _checked(
    request: CreateRequest,
    values: tuple[str, ...],
    violations: list[FieldViolation],
    key: str = "",
    entity_type: str | None = None,
) -> Event:
    """The event of `values`, the texts of `request`, of which `violations` tell what is wrong."""
    version_info = None
    if request.HasField("version_info"):
        try:
            version_info = to_json(request.version_info)
        except InvalidVersionInfo as error:
            violations.append(FieldViolation("version_info", str(error)))
    if key:
        violations += _wrong_with_key(key, values[_KEY:])
    if violations:
        raise InvalidRequest(violations)
    if entity_type is not None:
        # The two names of the entity, of which one is empty, become its type and id.
        name, other = values[_ENTITY : _ENTITY + 2]
        values = (*values[:_ENTITY], entity_type, name or other, *values[_ENTITY + 2 :], key)
    elif key:
        values = (*values[:_KEY], key)
    event_id, now = new_id_and_time()
    return Event._make((*values, version_info, event_id, now, now))


def _wrong_with_key(key: str, in_request: tuple[str, ...]) -> list[FieldViolation]:
    """What is wrong with a key that came as metadata, when `in_request` is the one in the request itself, if any."""
    if len(key) > MAX_KEY or not (key.isascii() and key.isprintable()):
        return [FieldViolation("idempotency-key", f"must be at most {MAX_KEY} printable ASCII characters")]
    if any(in_request) and (key,) != in_request:
        return [FieldViolation("idempotency_key", "must be equal to the idempotency-key header when both are sent")]
    return []


def analytics_event(event: Event) -> AnalyticsEvent:
    """What `/api/v1/analytics_events` answers."""
    return AnalyticsEvent(
        entity_id=event.entity_id,
        entity_type=event.entity_type,
        **_answer(event, "analytics_event", "Analytics event"),
    )


def lead_analytics_event(event: Event) -> LeadAnalyticsEvent:
    """What `/api/v1/lead_analytics` answers."""
    return LeadAnalyticsEvent(lead_id=event.entity_id, **_answer(event, "lead_analytics_event", "Lead analytics event"))


def contact_analytics_event(event: Event) -> ContactAnalyticsEvent:
    """What `/api/v1/contact_analytics` answers."""
    return ContactAnalyticsEvent(
        contact_id=event.entity_id, **_answer(event, "contact_analytics_event", "Contact analytics event")
    )


def _answer(event: Event, record_type: str, partition: str) -> dict[str, str]:
    """The fields that all answers to a create share."""
    return {
        "customer_id": event.customer_id,
        "user_id": event.user_id,
        "tool_signature": event.tool_signature,
        "recording_id": event.recording_id,
        "event_type": event.event_type,
        "event_id": event.event_id,
        "message": event.message,
        "record_type": record_type,
        "partition_key": f"{partition}|{event.id}",
        "sort_key": event.customer_id,
        "created_at": event.created_at,
        "updated_at": event.updated_at,
    }


def query(request: SearchRequest, entity_type: str, entity_id: str) -> Query:
    """The search that `request` asks for.

    Raises:
        InvalidRequest: the request breaks a rule.
    """
    # Half a million bad ids would each get their words. One too many is enough to say that there are too many.
    del request.recording_id[MAX_RECORDINGS + 1 :]
    check(request)
    return Query(
        request.customer_id,
        entity_type,
        entity_id,
        request.user_id,
        list(request.recording_id),
        request.latest,
        request.page if request.HasField("page") else DEFAULT_PAGE,
        request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE,
    )


def add_events(recordings: Any, events: Iterable[Found]) -> None:
    """Adds to the `recordings` of an answer what a search answers for each of `events`."""
    add = recordings.add
    for customer, entity_type, entity, user, tool, recording, event_type, event, message, created, updated in events:
        # Each by its name: a dict in between costs a search a twentieth of its time.
        add(
            customer_id=customer,
            entity_type=entity_type,
            entity_id=entity,
            user_id=user,
            tool_signature=tool,
            recording_id=recording,
            event_type=event_type,
            event_id=event,
            message=message,
            created_at=created,
            updated_at=updated,
        )


def page_meta(query: Query, page: Page) -> PageMeta:
    """Where `page` stands in the whole result."""
    return PageMeta(page=query.page, page_size=query.page_size, row_count=page.total)
