"""Creates: messages to events, and events to messages."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from data_analytics.v1.contact_analytics_service_pb2 import CreateContactAnalyticsEventRequest
from data_analytics.v1.event_pb2 import AnalyticsEvent, ContactAnalyticsEvent, LeadAnalyticsEvent
from data_analytics.v1.lead_analytics_service_pb2 import CreateLeadAnalyticsEventRequest
from server.messages.compiled_rules import CompiledRules
from server.messages.explanations import Explanations
from server.messages.refusals import FieldViolation, InvalidRequest, Reporter
from server.messages.validation import find_violations
from server.messages.version_info import InvalidVersionInfo, format_version_info
from server.messages.wording import KEY_MALFORMED, KEY_MISMATCH
from storage import TEXT_COUNT, Event, make_id_and_time, make_ids_and_times

T = TypeVar("T", bound=Message)

_SENT = Event._fields[:TEXT_COUNT]
_ENTITY = _SENT.index("entity_type")
_KEY = _SENT.index("idempotency_key")
_CUSTOMER, _TOOL = _SENT.index("customer_id"), _SENT.index("tool_signature")
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
        message: Any = request.DESCRIPTOR
        self.request = request
        self.rpc = str(message.name).removesuffix("Request")
        """The name of the RPC."""
        self.response: Any = response
        self.record_type = record_type
        self.partition = partition
        self.entity_field = f"{entity_type}_id" if entity_type else "entity_id"
        self.entity_names = (self.entity_field, "entity_id") if entity_type else ()
        """The two names of the entity, of which a request sends one. None if it has only one name."""
        self._entity_type = entity_type
        # The fields in the order of `Event`, with the two names of the entity in place of its type and id.
        entity = self.entity_names or ("entity_type", "entity_id")
        self.text_fields = (*_SENT[:_ENTITY], *entity, *_SENT[_ENTITY + 2 :])
        """The string fields of the request, in the order of the texts that the methods below take."""
        self.rules = CompiledRules(message, self.text_fields)

    def to_event(self, request: T, key: str = "") -> Event:
        """Return the event that `request` asks to store, under a new id.

        Args:
            request: the request of one create.
            key: the idempotency key in the call's metadata, or "".

        Raises:
            InvalidRequest: the request breaks a rule of its annotations or of `server.messages.version_info`.
        """
        texts = self._merge_entity(self.rules.read(request))
        violations = self._check(texts)
        version_info = _read_version_info(request, violations)
        return self._make_event(texts, version_info, key, violations)

    def to_events(self, requests: list[T], explanations: Explanations) -> list[Event | InvalidRequest]:
        """Return, for each of many requests, its event or what is wrong with it. Cheaper than `to_event` for each.

        Args:
            requests: a list, because a message's field would make each of its messages anew whenever it is iterated
                over.
            explanations: those of the batch that the requests are part of.
        """
        violations: list[list[FieldViolation]] = [[] for _ in requests]
        version_infos = list(map(_read_version_info, requests, violations))
        columns = list(zip(*map(self.rules.read, requests), strict=True))
        return self._make_events(columns, version_infos, violations, explanations)

    def make_event(self, texts: tuple[str, ...], version_info: str | None, key: str = "") -> Event:
        """Return the event that a request with these contents asks to store, under a new id.

        Args:
            texts: the values of `text_fields`.
            version_info: the object as JSON text, which keeps the rules of `server.messages.version_info`, or None.
            key: the idempotency key in the call's metadata, or "".

        Raises:
            InvalidRequest: the texts or the key break a rule.
        """
        texts = self._merge_entity(texts)
        return self._make_event(texts, version_info, key, self._check(texts))

    def make_events(
        self, columns: Sequence[Sequence[str]], version_infos: Sequence[str | None], explanations: Explanations
    ) -> list[Event | InvalidRequest]:
        """Return, for each of many requests, its event or what is wrong with it. Cheaper than `make_event` for each.

        Args:
            columns: of each of `text_fields`, its values in all the requests.
            version_infos: of each request, what `make_event` takes.
            explanations: those of the batch that the requests are part of.
        """
        return self._make_events(columns, version_infos, [[] for _ in version_infos], explanations)

    def find_violations(self, texts: tuple[str, ...]) -> list[FieldViolation]:
        """Return every rule that the texts of a request break."""
        return self._find_violations(self._merge_entity(texts))

    def find_key_violations(self, texts: tuple[str, ...], key: str) -> list[FieldViolation]:
        """Return what is wrong with the idempotency key in the metadata of a request with these texts."""
        return _check_key(key, texts[_KEY]) if key else []

    def to_response(self, event: Event) -> Message:
        """Return the response to a create whose event is stored."""
        response: Message = self.response(
            customer_id=event.customer_id,
            user_id=event.user_id,
            tool_signature=event.tool_signature,
            recording_id=event.recording_id,
            event_type=event.event_type,
            event_id=event.event_id,
            message=event.message,
            record_type=self.record_type,
            partition_key=f"{self.partition}|{event.id}",
            sort_key=event.customer_id,
            created_at=event.created_at,
            updated_at=event.updated_at,
            **({} if self._entity_type else {"entity_type": event.entity_type}),
            **{self.entity_field: event.entity_id},
        )
        return response

    def _merge_entity(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Return `texts` with the entity once, if it is sent under both its names, so that "one of the two" holds."""
        if self._entity_type and texts[_ENTITY] == texts[_ENTITY + 1]:
            return (*texts[: _ENTITY + 1], "", *texts[_ENTITY + 2 :])
        return texts

    def _check(self, texts: tuple[str, ...]) -> list[FieldViolation]:
        """Return every rule that merged `texts` break."""
        return [] if self.rules.hold_for(texts) else self._find_violations(texts)

    def _find_violations(self, texts: tuple[str, ...]) -> list[FieldViolation]:
        return find_violations(self.request(**dict(zip(self.text_fields, texts, strict=True))))

    def _make_event(
        self, texts: tuple[str, ...], version_info: str | None, key: str, violations: list[FieldViolation]
    ) -> Event:
        """Return the event of merged `texts`, or raise `violations` and what is wrong with the key."""
        if key:
            violations += _check_key(key, texts[_KEY])
        if violations:
            raise InvalidRequest(violations, _find_reporter(texts))
        if self._entity_type:
            entity_id, other_name = texts[_ENTITY : _ENTITY + 2]
            texts = (*texts[:_ENTITY], self._entity_type, entity_id or other_name, *texts[_ENTITY + 2 :])
        if key:
            texts = (*texts[:_KEY], key)
        event_id, now = make_id_and_time()
        return Event._make((*texts, version_info, event_id, now, now))

    def _make_events(
        self,
        columns: Sequence[Sequence[str]],
        version_infos: Sequence[str | None],
        violations: Sequence[list[FieldViolation]],
        explanations: Explanations,
    ) -> list[Event | InvalidRequest]:
        """Return what `make_events` does, where `violations` are known already of each request's `version_info`."""
        # All at once, if nothing is wrong with any. A batch has no events of a kind whose entity has two names.
        if columns and not any(violations) and not self._entity_type and self.rules.hold_for_all(columns):
            ids, times = make_ids_and_times(len(version_infos))
            return list(map(Event._make, zip(*columns, version_infos, ids, times, times, strict=True)))
        events: list[Event | InvalidRequest] = []
        for row, version_info, known in zip(zip(*columns, strict=True), version_infos, violations, strict=True):
            texts = self._merge_entity(row)
            # Not raised and caught: then the error and the frame of this function would keep each other in memory.
            if not known and self.rules.hold_for(texts):
                events.append(self._make_event(texts, version_info, "", []))
            elif explanations.are_enough:
                events.append(explanations.refuse_unexplained(_find_reporter(texts)))
            else:
                events.append(explanations.refuse(self._check(texts) + known, _find_reporter(texts)))
        return events


def _read_version_info(request: Any, violations: list[FieldViolation]) -> str | None:
    """Return the request's `version_info` as JSON text. Append what is wrong with it to `violations`."""
    if not request.HasField("version_info"):
        return None
    try:
        return format_version_info(request.version_info)
    except InvalidVersionInfo as error:
        violations.append(FieldViolation("version_info", str(error)))
        return None


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


def _find_reporter(texts: Sequence[str]) -> Reporter:
    """Return who reported an event with these texts, in whose places it does not matter which names the entity has."""
    return Reporter(texts[_CUSTOMER], texts[_TOOL])


def _check_key(key: str, in_request: str) -> list[FieldViolation]:
    """Return what is wrong with a key in the metadata, given the request's own key."""
    if len(key) > _MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        return [KEY_MALFORMED]
    if in_request and key != in_request:
        return [KEY_MISMATCH]
    return []
