"""Bytes to messages: large batches are cut before they are parsed."""

import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.messages.parse import MAX_EVENTS, cut_events, parse_events
from server.messages.refusals import MalformedMessage
from tests.support import requests


def make_batch(count: int, **fields: object) -> bytes:
    event = requests.analytics_event("customer", **fields)
    return BatchCreateAnalyticsEventsRequest(events=[event] * count).SerializeToString()


@pytest.mark.parametrize("message", ["", "m" * 100, "m" * 20_000])
def test_the_first_events_remain_and_are_whole(message: str) -> None:
    data = make_batch(5, message=message)
    for count in range(1, 8):
        remaining = BatchCreateAnalyticsEventsRequest.FromString(cut_events(data, count))
        assert list(remaining.events) == [requests.analytics_event("customer", message=message)] * min(count, 5)


def test_millions_of_empty_events_are_not_parsed() -> None:
    empty = b"\x0a\x00" * 4_000_000
    assert len(cut_events(empty, 1_001)) == 2_002
    assert len(parse_events(BatchCreateAnalyticsEventsRequest, empty).events) == MAX_EVENTS + 1


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x0a\x7fabc", b"\x12\x01a", make_batch(2)[:-1]]
)
def test_what_is_not_event_after_event_is_left_to_the_parser(data: bytes) -> None:
    assert data.startswith(cut_events(data, 3))
    assert cut_events(data + b"\x0a\x00" * 9, 1_000) == data + b"\x0a\x00" * 9


def test_bytes_that_do_not_parse_are_malformed() -> None:
    with pytest.raises(MalformedMessage):
        parse_events(BatchCreateAnalyticsEventsRequest, b"\x0a\x7fabc")
