"""Searches: messages to queries, and pages to messages."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from data_analytics.v1.contact_analytics_service_pb2 import (
    SearchContactAnalyticsEventsRequest,
    SearchContactAnalyticsEventsResponse,
)
from data_analytics.v1.event_pb2 import PageMeta
from data_analytics.v1.lead_analytics_service_pb2 import (
    SearchLeadAnalyticsEventsRequest,
    SearchLeadAnalyticsEventsResponse,
)
from server.messages.compiled_rules import get_field_rules
from server.messages.page_token import Position, make_token, read_token
from server.messages.refusals import FieldViolation, InvalidRequest
from server.messages.times import parse_milliseconds
from server.messages.validation import check
from server.messages.wording import NOT_A_TIME_TEXT, NOT_THIS_TOKEN, PAGE_WITH_TOKEN, limit_reach
from storage import Found, Page, Place, Query
from storage.ids import LAST, make_bound

SearchRequest = SearchLeadAnalyticsEventsRequest | SearchContactAnalyticsEventsRequest
SearchResponse = TypeVar("SearchResponse", SearchLeadAnalyticsEventsResponse, SearchContactAnalyticsEventsResponse)

_SEARCH: Any = SearchLeadAnalyticsEventsRequest.DESCRIPTOR
MAX_RECORDINGS = get_field_rules(_SEARCH.fields_by_name["recording_id"]).repeated.max_items
MAX_PAGE_BYTES = 16 << 20
"""The documented limit on a page, as a message or as JSON."""

# To print so much takes some milliseconds, if it must all be escaped as well.
_PART_CHARACTERS = 512 << 10

MAX_REACH = 100_000
"""The limit on page times page size, because the database passes over all events of the pages before."""

DEFAULT_PAGE = 1
DEFAULT_PAGE_SIZE = 10


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
    page = request.page if request.HasField("page") else DEFAULT_PAGE
    page_size = request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE
    query = Query(
        request.customer_id,
        entity_type,
        entity_id,
        request.user_id,
        list(request.recording_id),
        request.latest,
        page,
        page_size,
    )
    if request.page_token or request.HasField("page_token") or request.as_of:
        query = _find_place(request, query)
    if query.page * page_size > MAX_REACH and not request.page_token:
        raise InvalidRequest([FieldViolation("page", limit_reach(MAX_REACH))])
    return query


def _find_place(request: SearchRequest, query: Query) -> Query:
    """Return the query with the place where its page begins, by the request's time and token."""
    as_of_id = LAST
    if request.as_of:
        milliseconds = parse_milliseconds(request.as_of)
        if milliseconds is None:
            raise InvalidRequest([FieldViolation("as_of", NOT_A_TIME_TEXT)])
        as_of_id = make_bound(milliseconds + 1)
    query = query._replace(as_of_id=as_of_id)
    if not request.page_token:
        return query._replace(place=Place(as_of_id, (query.page - 1) * query.page_size))
    if request.HasField("page"):
        raise InvalidRequest([PAGE_WITH_TOKEN])
    position = read_token(request.page_token, _list_asked(query))
    if position is None:
        raise InvalidRequest([NOT_THIS_TOKEN])
    return query._replace(page=position.page, place=Place(position.before_id, position.offset, position.total))


def make_next_token(query: Query, page: Page) -> str:
    """Return the token of the page after `page` of the result of a query that has a place, or "" if it is the last."""
    if not page.next_id or query.place is None:
        return ""
    # The newest event of each recording is only known from the beginning.
    before_id, offset = (
        (query.place.before_id, query.place.offset + query.page_size) if query.latest else (page.next_id, 0)
    )
    return make_token(Position(before_id, query.page + 1, offset, page.total), _list_asked(query))


def _list_asked(query: Query) -> list[str]:
    recordings = sorted(set(query.recording_ids))
    return ["search", *query[:4], str(query.latest), query.as_of_id, *recordings]


def encode_page(response: type[SearchResponse], query: Query, page: Page) -> Iterator[bytes]:
    """Yield the bytes of the response that carries `page`, one page of the result of `query`, in parts."""
    meta = PageMeta(page=query.page, page_size=query.page_size, row_count=page.total)
    if query.place is not None:
        meta.next_page_token = make_next_token(query, page)
    customer, entity_type, entity, user = query[:4]
    for part in slice_page(page.events):
        message = response(meta=meta) if part.start == 0 else response()
        add = message.recordings.add
        for tool, recording, event_type, event, text, created, updated in page.events[part]:
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
        # Parsers read messages that follow each other as one, with the records of them all.
        yield message.SerializeToString()


def slice_page(events: Sequence[Found]) -> Iterator[slice]:
    """Yield the places of events that are printed at once: at least one, though it may be empty."""
    start = size = 0
    for index, event in enumerate(events):
        size += len(event.message)
        if size > _PART_CHARACTERS:
            yield slice(start, index + 1)
            start, size = index + 1, 0
    if start < len(events) or not events:
        yield slice(start, len(events))
