"""Answers as JSON: what `json_format` prints of the messages, byte for byte, in the documented order."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict, Parse
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsResponse
from data_analytics.v1.event_pb2 import EventViolation, PageMeta, RefusedEvent
from data_analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsResponse,
)
from server.messages.convert import ANALYTICS, CONTACT, LEAD, CreateKind
from server.messages.json_codec.format import CreateFormatter, format_batch, format_page
from server.messages.json_codec.status import format_status
from server.messages.refusals import FieldViolation, InvalidRequest, TooManyCalls
from server.messages.search import MAX_PAGE_BYTES, encode_page
from server.messages.statuses import make_status
from server.messages.wording import EVENT_REFUSED
from server.rpc.limits import UnreadPageLimiter
from server.rpc.pages import join_page
from storage import Event, Found, Page, PageTooLarge, Query
from storage.event import TEXT_COUNT
from tests.support.hostile import TROUBLE

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(TROUBLE)
EVENTS = st.tuples(*[TEXT] * TEXT_COUNT, st.none(), *[TEXT] * 3).map(Event._make)
PAGES = st.builds(Page, st.lists(st.tuples(*[TEXT] * 7).map(Found._make), max_size=3), st.integers(0, 2**31 - 1))
QUERY = Query("c", "lead", "l", "u", ["r"], False, 3, 10)
QUERIES = st.builds(lambda ids: QUERY._replace(**ids), st.fixed_dictionaries(dict.fromkeys(QUERY._fields[:4], TEXT)))
FORMATTERS = {kind.record_type: (kind, CreateFormatter(kind)) for kind in (ANALYTICS, LEAD, CONTACT)}


def to_json(message: Any) -> bytes:
    """What protobuf prints, without spaces and needless escapes, its fields in the order of their message."""
    printed = MessageToDict(message, always_print_fields_with_no_presence=True)
    return json.dumps(sort(printed, message.DESCRIPTOR), separators=(",", ":"), ensure_ascii=False).encode()


def sort(printed: Any, descriptor: Any) -> Any:
    """What is printed of a message with its fields in order: json_format puts the absent ones last."""
    if isinstance(printed, list):
        return [sort(item, descriptor) for item in printed]
    if descriptor is None:
        return printed
    fields = [field for field in descriptor.fields if field.json_name in printed]
    return {field.json_name: sort(printed[field.json_name], field.message_type) for field in fields}


@settings(deadline=None)
@given(st.sampled_from(sorted(FORMATTERS)), EVENTS)
def test_a_create_is_answered_as_its_message_is_printed(record_type: str, event: Event) -> None:
    kind, formatter = FORMATTERS[record_type]
    printed = formatter.format(event)
    assert printed == to_json(kind.to_response(event))
    assert Parse(printed, kind.response()) == kind.to_response(event)


def join(parts: Iterator[bytes]) -> bytes:
    """Return a page as a server sends it."""

    class Context:
        def add_done_callback(self, callback: object) -> None:
            """Ignore it, because the limiter is not used again."""

    async def join_alone() -> bytes:
        return await join_page(parts, UnreadPageLimiter(MAX_PAGE_BYTES), Context())

    return asyncio.run(join_alone())


@settings(deadline=None)
@given(QUERIES, PAGES)
def test_a_page_is_answered_as_its_message_is_printed(query: Query, page: Page) -> None:
    encoded = join(encode_page(SearchLeadAnalyticsEventsResponse, query, page))
    message = SearchLeadAnalyticsEventsResponse.FromString(encoded)
    printed = join(format_page(query, page))
    assert printed == to_json(message)
    assert Parse(printed, SearchLeadAnalyticsEventsResponse()) == message


VIOLATIONS = st.lists(st.tuples(TEXT, TEXT).map(FieldViolation._make), min_size=1, max_size=3)
STORED = st.tuples(TEXT, TEXT, st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(VIOLATIONS | STORED, max_size=5))
def test_a_batch_is_answered_as_its_message_is_printed(outcomes: list[Any]) -> None:
    message = BatchCreateAnalyticsEventsResponse()
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, list):
            violations = [EventViolation(field=field, description=text) for field, text in outcome]
            message.outcomes.add(index=index, refused=RefusedEvent(violations=violations))
        else:
            stored = message.outcomes.add(index=index).stored
            stored.id, stored.created_at, stored.replayed = outcome
    message.stored_count = sum(isinstance(outcome, tuple) for outcome in outcomes)
    message.refused_count = len(outcomes) - message.stored_count
    printed = format_batch(outcomes)
    assert printed == to_json(message)


EVENT = Event(
    *("acme", "user-1", "rec-1", "view", "contact", "contact-1", "vfp", "view-1", "first look"),
    *("", "", "", "", "", "key", '{"a":1}', "01a2090f-a62c-7406-bf6e-18ff40af2c25"),
    *("2026-11-23T15:39:10.252Z", "2026-11-23T15:39:10.253Z"),
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            CONTACT,
            '{"customer_id":"acme","contact_id":"contact-1","user_id":"user-1","tool_signature":"vfp",'
            '"recording_id":"rec-1","event_type":"view","event_id":"view-1","message":"first look",'
            '"entityType":"contact_analytics_event",'
            '"partitionKey":"Contact analytics event|01a2090f-a62c-7406-bf6e-18ff40af2c25","sortKey":"acme",'
            '"created_at":"2026-11-23T15:39:10.252Z","updated_at":"2026-11-23T15:39:10.253Z"}',
        ),
        (
            ANALYTICS,
            '{"customer_id":"acme","entity_id":"contact-1","entity_type":"contact","user_id":"user-1",'
            '"tool_signature":"vfp","recording_id":"rec-1","event_type":"view","event_id":"view-1",'
            '"message":"first look","entityType":"analytics_event",'
            '"partitionKey":"Analytics event|01a2090f-a62c-7406-bf6e-18ff40af2c25","sortKey":"acme",'
            '"created_at":"2026-11-23T15:39:10.252Z","updated_at":"2026-11-23T15:39:10.253Z"}',
        ),
    ],
)
def test_the_documented_answer_is_printed_byte_for_byte(kind: CreateKind[Any], expected: str) -> None:
    assert CreateFormatter(kind).format(EVENT).decode() == expected


def test_only_what_json_cannot_have_in_a_string_is_escaped() -> None:
    message = '"\\/\b\f\n\r\t\x00\x1f\x7f<>&\u2028é\U0001f600'
    printed = CreateFormatter(LEAD).format(EVENT._replace(message=message)).decode()
    assert '"message":"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f<>&\u2028é\U0001f600"' in printed
    assert json.loads(printed)["message"] == message


FOUND = Found("", "r", "view", "", "", "2018-11-02T13:12:04.000Z", "2018-11-02T13:12:04.000Z")


@pytest.mark.parametrize(("character", "size"), [("x", 1), ("é", 2), ("<", 1), ("\x01", 6), ("\\", 2)])
def test_a_page_may_have_sixteen_mebibytes_of_json_and_no_byte_more(character: str, size: int) -> None:
    record = FOUND._replace(message=character * (60_000 // size))
    count = MAX_PAGE_BYTES // (60_000 + 400)
    rest = MAX_PAGE_BYTES - len(join(format_page(QUERY, Page([record] * count + [FOUND], 7))))
    assert rest > 0
    full = Page([*[record] * count, FOUND._replace(message="x" * rest)], 7)
    printed = join(format_page(QUERY, full))
    assert len(printed) == MAX_PAGE_BYTES
    assert json.loads(printed)["meta"] == {"page": 3, "pageSize": 10, "rowCount": 7}
    with pytest.raises(PageTooLarge):
        join(format_page(QUERY, Page([*full.events[:-1], FOUND._replace(message="x" * (rest + 1))], 7)))


def test_a_page_of_a_thousand_of_the_largest_records_is_refused() -> None:
    with pytest.raises(PageTooLarge):
        join(format_page(QUERY, Page([FOUND._replace(message="\x01" * 65_536)] * 1_000, 1_000)))


CREATE: Any = CreateLeadAnalyticsEventRequest.DESCRIPTOR


def test_a_refusal_is_printed_as_documented() -> None:
    error = InvalidRequest([FieldViolation("customer_id", "value is required"), EVENT_REFUSED])
    assert format_status(make_status(error, CREATE)).decode() == (
        '{"code":3,"message":"invalid request: customer_id","details":[{"@type":'
        '"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"customer_id","description":'
        '"value is required"},{"field":"","description":"the database cannot store this event"}]}]}'
    )
    assert format_status(make_status(TooManyCalls(), CREATE)).decode() == (
        '{"code":8,"message":"too many requests are in flight","details":[{"@type":'
        '"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1s"}]}'
    )
    assert format_status(make_status(ValueError(), CREATE)) == b'{"code":13,"message":"internal error","details":[]}'


@settings(deadline=None)
@given(VIOLATIONS, st.integers(0, 10**6), st.integers(0, 999_999_999))
def test_a_status_is_printed_as_json_format_prints_it(
    violations: list[FieldViolation], seconds: int, nanos: int
) -> None:
    status = make_status(InvalidRequest(violations), CREATE)
    retry = RetryInfo()
    retry.retry_delay.seconds, retry.retry_delay.nanos = seconds, nanos
    status.details.add().Pack(retry)
    status.details.add().Pack(PageMeta(page=3))  # Of another type than those that the service sends.
    printed = MessageToDict(status)
    for violation in printed["details"][0]["fieldViolations"]:
        violation.setdefault("field", "")
        violation.setdefault("description", "")
    assert json.loads(format_status(status)) == {"code": 0, "message": "", **printed}


def test_a_detail_of_an_unknown_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="unknown"):
        format_status(Status(details=[AnyMessage(type_url="type.googleapis.com/unknown.Type", value=b"")]))
