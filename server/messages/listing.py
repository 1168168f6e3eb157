"""Lists: messages to queries, and events to messages."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.struct_pb2 import Struct

from data_analytics.v1 import analytics_event_service_pb2 as pb
from data_analytics.v1.event_pb2 import EventRecord
from server.messages.page_token import Position, make_token, read_token
from server.messages.refusals import FieldViolation, InvalidRequest
from server.messages.times import parse_milliseconds
from server.messages.validation import check, find_violations
from server.messages.wording import NOT_A_TIME_TEXT, NOT_THIS_TOKEN
from storage import Event, Listing, ListQuery
from storage.ids import FIRST, LAST, make_bound
from storage.selection import FILTERS

DEFAULT_PAGE_SIZE = 50

# As in `server.messages.search`.
_PART_CHARACTERS = 512 << 10


class ListRequest(NamedTuple):
    """A list that a caller asks for."""

    query: ListQuery
    asked: Sequence[str]
    """What its tokens belong to."""

    def make_next_token(self, listing: Listing) -> str:
        """Return the token of the page after `listing`, or "" if that is the last one."""
        return make_token(Position(listing.next_id), self.asked) if listing.next_id else ""


class Selection(NamedTuple):
    """The events of a customer that a request selects."""

    customer_id: str
    filters: tuple[tuple[str, str], ...]
    since_id: str
    before_id: str
    violations: list[FieldViolation]
    """All rules that the request breaks."""

    def list_asked(self, kind: str) -> Sequence[str]:
        """Return what tokens of a kind of request belong to that select the same."""
        return (kind, self.customer_id, *map("=".join, self.filters), self.since_id, self.before_id)


def read_selection(request: Any) -> Selection:
    """Return what a request selects, which has the filters of a list."""
    violations = find_violations(request)
    bounds = {"since": FIRST, "until": LAST}
    for name in bounds:
        if text := getattr(request, name):
            milliseconds = parse_milliseconds(text)
            if milliseconds is None:
                violations.append(FieldViolation(name, NOT_A_TIME_TEXT))
            else:
                bounds[name] = make_bound(milliseconds)
    filters = tuple((name, text) for name in FILTERS if (text := getattr(request, name)))
    return Selection(request.customer_id, filters, bounds["since"], bounds["until"], violations)


def to_list_request(request: pb.ListAnalyticsEventsRequest) -> ListRequest:
    """Return the list that a message asks for.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    customer_id, filters, since_id, before_id, violations = selection = read_selection(request)
    asked = selection.list_asked("list")
    if request.page_token and not violations:
        position = read_token(request.page_token, asked)
        if position is None:
            violations.append(NOT_THIS_TOKEN)
        else:
            before_id = min(before_id, position.before_id)
    if violations:
        raise InvalidRequest(violations)
    size = request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE
    return ListRequest(ListQuery(customer_id, filters, since_id, before_id, size), asked)


def to_event_id(request: pb.GetAnalyticsEventRequest) -> tuple[str, str]:
    """Return the customer and the id of the event that a request asks for.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    check(request)
    return request.customer_id, request.id


def encode_record(event: Event) -> EventRecord:
    """Return an event as a message."""
    values: dict[str, Any] = event._asdict()
    version_info = values.pop("version_info")
    record = EventRecord(**values)
    if version_info is not None:
        record.version_info.CopyFrom(_to_struct(version_info))
    return record


def encode_listing(request: ListRequest, listing: Listing) -> Iterator[bytes]:
    """Yield the bytes of the response that carries `listing`, in parts."""
    for part in slice_events(listing.events):
        response = pb.ListAnalyticsEventsResponse(events=map(encode_record, listing.events[part]))
        if part.stop == len(listing.events):
            response.next_page_token = request.make_next_token(listing)
        # Parsers read messages that follow each other as one, with the events of them all.
        yield response.SerializeToString()


def slice_events(events: Sequence[Event], max_events: int = 1_000) -> Iterator[slice]:
    """Yield the places of events that are printed at once: at least one, though it may be empty."""
    start = size = 0
    for index, event in enumerate(events):
        size += len(event.message) + 8 * len(event.version_info or "")
        if size > _PART_CHARACTERS or index + 1 - start == max_events:
            yield slice(start, index + 1)
            start, size = index + 1, 0
    if start < len(events) or not events:
        yield slice(start, len(events))


def _to_struct(text: str) -> Struct:
    struct = Struct()
    struct.update(json.loads(text))
    return struct
