"""Messages to events and queries, and events to messages."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from data_analytics.v1.contact_analytics_service_pb2 import (
    CreateContactAnalyticsEventRequest,
    SearchContactAnalyticsEventsRequest,
    SearchContactAnalyticsEventsResponse,
)
from data_analytics.v1.event_pb2 import AnalyticsEvent, ContactAnalyticsEvent, LeadAnalyticsEvent
from data_analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsRequest,
    SearchLeadAnalyticsEventsResponse,
)
from server.messages.compiled_rules import CompiledRules, get_field_rules
from server.messages.refusals import KEY_MALFORMED, KEY_MISMATCH, FieldViolation, InvalidRequest
from server.messages.validation import check, find_violations
from server.messages.version_info import InvalidVersionInfo, format_version_info
from storage import TEXT_COUNT, Event, Page, Query, make_id_and_time

T = TypeVar("T", bound=Message)
SearchRequest = SearchLeadAnalyticsEventsRequest | SearchContactAnalyticsEventsRequest
SearchResponse = TypeVar("SearchResponse", SearchLeadAnalyticsEventsResponse, SearchContactAnalyticsEventsResponse)

_SEARCH: Any = SearchLeadAnalyticsEventsRequest.DESCRIPTOR
MAX_RECORDINGS = get_field_rules(_SEARCH.fields_by_name["recording_id"]).repeated.max_items
DEFAULT_PAGE = 1
DEFAULT_PAGE_SIZE = 10

_SENT = Event._fields[:TEXT_COUNT]
_ENTITY = _SENT.index("entity_type")
_KEY = _SENT.index("idempotency_key")
_MAX_KEY_CHARACTERS = 255


class CreateKind(Generic[T]):
    """One of the three kinds of create: how its request becomes an event, and an event its response."""

    def __init__(
        self,
        request: type[T],
        response: type[AnalyticsEvent | LeadAnalyticsEvent | ContactAnalyticsEvent],
        *,
        entity_type: str = "",
        record_type: str,
        partition: str,
    ) -> None:
        """Compile the rules of the request.

        Args:
            request: the message that the RPC takes.
            response: the message that it returns.
            entity_type: what all events of this kind are about, "lead" or "contact". Their requests name it in the
                field `<entity_type>_id` or in `entity_id`. If empty, requests have `entity_type` and `entity_id`.
            record_type: the response's `entityType`.
            partition: what the response's `partitionKey` begins with.
        """
        self.request = request
        self._response: Any = response
        self._entity_type = entity_type
        self._record_type = record_type
        self._partition = partition
        self._entity_field = f"{entity_type}_id" if entity_type else "entity_id"
        # The fields in the order of `Event`, with the two names of the entity in place of its type and id.
        entity = (self._entity_field, "entity_id") if entity_type else ("entity_type", "entity_id")
        names = [*_SENT[:_ENTITY], *entity, *_SENT[_ENTITY + 2 :]]
        message: Any = request.DESCRIPTOR
        self.rules = CompiledRules(message, [name for name in names if name in message.fields_by_name])

    def to_event(self, request: T, key: str = "") -> Event:
        """Return the event that `request` asks to store, under a new id.

        Args:
            request: the request of one create.
            key: the idempotency key in the call's metadata, or "".

        Raises:
            InvalidRequest: the request breaks a rule of its annotations or of `server.messages.version_info`.
        """
        values = self._read(request)
        return self._to_event(
            request, values, [] if self.rules.hold_for(values) else self._find_violations(request), key
        )

    def to_events(self, requests: Sequence[T]) -> Iterator[Event | InvalidRequest]:
        """Yield, for each of many requests, its event or what is wrong with it. Cheaper than `to_event` for each."""
        rows = list(map(self._read, requests))
        all_hold = bool(rows) and self.rules.hold_for_all(rows)
        for request, values in zip(requests, rows, strict=True):
            violations = [] if all_hold or self.rules.hold_for(values) else self._find_violations(request)
            try:
                yield self._to_event(request, values, violations)
            except InvalidRequest as error:
                yield error

    def to_response(self, event: Event) -> Message:
        """Return the response to a create whose event is stored."""
        response: Message = self._response(
            customer_id=event.customer_id,
            user_id=event.user_id,
            tool_signature=event.tool_signature,
            recording_id=event.recording_id,
            event_type=event.event_type,
            event_id=event.event_id,
            message=event.message,
            record_type=self._record_type,
            partition_key=f"{self._partition}|{event.id}",
            sort_key=event.customer_id,
            created_at=event.created_at,
            updated_at=event.updated_at,
            **({} if self._entity_type else {"entity_type": event.entity_type}),
            **{self._entity_field: event.entity_id},
        )
        return response

    def _read(self, request: T) -> tuple[str, ...]:
        values = self.rules.read(request)
        # The entity sent twice under its two names is sent once, so that the rule "one of the two" holds.
        if self._entity_type and values[_ENTITY] == values[_ENTITY + 1]:
            return (*values[: _ENTITY + 1], "", *values[_ENTITY + 2 :])
        return values

    def _find_violations(self, request: Any) -> list[FieldViolation]:
        if self._entity_type and getattr(request, self._entity_field) == request.entity_id:
            checked = self.request()
            checked.CopyFrom(request)
            checked.ClearField("entity_id")
            return find_violations(checked)
        return find_violations(request)

    def _to_event(
        self, request: Any, values: tuple[str, ...], violations: list[FieldViolation], key: str = ""
    ) -> Event:
        """Return the event of `values`, the texts of `request`, or raise `violations` and what else is wrong."""
        version_info = None
        if request.HasField("version_info"):
            try:
                version_info = format_version_info(request.version_info)
            except InvalidVersionInfo as error:
                violations.append(FieldViolation("version_info", str(error)))
        if key:
            violations += _check_key(key, values[_KEY:])
        if violations:
            raise InvalidRequest(violations)
        if self._entity_type:
            entity_id, other_name = values[_ENTITY : _ENTITY + 2]
            values = (*values[:_ENTITY], self._entity_type, entity_id or other_name, *values[_ENTITY + 2 :], key)
        elif key:
            values = (*values[:_KEY], key)
        event_id, now = make_id_and_time()
        return Event._make((*values, version_info, event_id, now, now))


ANALYTICS = CreateKind(
    CreateAnalyticsEventRequest, AnalyticsEvent, record_type="analytics_event", partition="Analytics event"
)
LEAD = CreateKind(
    CreateLeadAnalyticsEventRequest,
    LeadAnalyticsEvent,
    entity_type="lead",
    record_type="lead_analytics_event",
    partition="Lead analytics event",
)
CONTACT = CreateKind(
    CreateContactAnalyticsEventRequest,
    ContactAnalyticsEvent,
    entity_type="contact",
    record_type="contact_analytics_event",
    partition="Contact analytics event",
)


def _check_key(key: str, in_request: tuple[str, ...]) -> list[FieldViolation]:
    """Return what is wrong with a key in the metadata. `in_request` holds the request's own key, if it has one."""
    if len(key) > _MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        return [KEY_MALFORMED]
    if any(in_request) and (key,) != in_request:
        return [KEY_MISMATCH]
    return []


def to_query(request: SearchRequest, entity_type: str, entity_id: str) -> Query:
    """Return the query that a search asks for.

    Raises:
        InvalidRequest: the request breaks a rule.
    """
    if len(request.recording_id) > MAX_RECORDINGS:
        # Half a million bad ids would each get a violation. One id too many is enough to be refused.
        checked: Any = type(request)()
        checked.CopyFrom(request)
        del checked.recording_id[MAX_RECORDINGS + 1 :]
        check(checked)
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


def to_search_response(response: type[SearchResponse], query: Query, page: Page) -> SearchResponse:
    """Return the response that carries `page`, one page of the result of `query`."""
    message = response()
    message.meta.page = query.page
    message.meta.page_size = query.page_size
    message.meta.row_count = page.total
    add = message.recordings.add
    for customer, entity_type, entity, user, tool, recording, event_type, event, text, created, updated in page.events:
        # Spelled out, because a dict in between takes a twentieth of a search's time.
        add(
            customer_id=customer,
            entity_type=entity_type,
            entity_id=entity,
            user_id=user,
            tool_signature=tool,
            recording_id=recording,
            event_type=event_type,
            event_id=event,
            message=text,
            created_at=created,
            updated_at=updated,
        )
    return message
