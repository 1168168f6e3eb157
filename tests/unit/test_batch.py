"""A batch is cut before it is parsed."""

import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.ingest.batch import at_most_events
from tests.support import requests


@pytest.fixture(autouse=True)
def _nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.ingest.batch._SMALL_BYTES", 0)


def batch(count: int, **fields: object) -> bytes:
    event = requests.analytics_event("customer", **fields)
    return BatchCreateAnalyticsEventsRequest(events=[event] * count).SerializeToString()


@pytest.mark.parametrize("message", ["", "m" * 100, "m" * 20_000])
def test_no_more_events_than_asked_for_are_left_and_they_are_whole(message: str) -> None:
    data = batch(5, message=message)
    for count in range(1, 8):
        left = BatchCreateAnalyticsEventsRequest.FromString(at_most_events(data, count))
        assert list(left.events) == [requests.analytics_event("customer", message=message)] * min(count, 5)


def test_millions_of_empty_events_are_not_parsed() -> None:
    assert len(at_most_events(b"\x0a\x00" * 4_000_000, 1_001)) == 2_002


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x0a\x7fabc", b"\x12\x01a", batch(2)[:-1]]
)
def test_what_is_no_row_of_events_is_left_to_the_parser(data: bytes) -> None:
    assert data.startswith(at_most_events(data, 3))
    assert at_most_events(data + b"\x0a\x00" * 9, 1_000) == data + b"\x0a\x00" * 9
