"""Bytes to messages: batches are parsed in slices."""

import pytest
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    CreateAnalyticsEventRequest,
)
from server.messages.parse import MAX_EVENTS, parse_create, parse_slice, split_events
from server.messages.refusals import InvalidRequest, MalformedMessage
from server.messages.version_info import MAX_VERSION_INFO_BYTES
from tests.support import requests

SIZES = [0, 1, 50, 100, 120, 127, 128, 129, 1_000, 16_000, 16_383, 16_384, 20_000, 70_000, 140_000]


def make_event(size: int = 0) -> CreateAnalyticsEventRequest:
    return requests.analytics_event("customer", message="m" * size)


def make_batch(*sizes: int) -> bytes:
    return BatchCreateAnalyticsEventsRequest(events=map(make_event, sizes)).SerializeToString()


def read(data: bytes) -> list[CreateAnalyticsEventRequest]:
    """Return the events of all slices."""
    found = []
    for part in split_events(data):
        events = parse_slice(data, part)
        assert not isinstance(events, InvalidRequest)
        assert len(events) == part.events
        found += events
    return found


@given(st.lists(st.sampled_from(SIZES), max_size=30))
def test_the_slices_of_a_batch_hold_all_of_its_events_in_order(sizes: list[int]) -> None:
    data = make_batch(*sizes)
    assert read(data) == [make_event(size) for size in sizes]
    assert all(part.events == 1 or part.stop - part.start <= 64 << 10 for part in split_events(data))


def test_a_slice_has_at_most_a_hundred_events() -> None:
    data = make_batch(*[1] * 950)
    assert [part.events for part in split_events(data)] == [100] * 9 + [50]


def test_unknown_fields_between_events_are_passed_over() -> None:
    unknown = [b"\x10\x07", b"\x11" + b"8" * 8, b"\x15" + b"4" * 4, b"\x12\x03abc", b"\x10" + b"\xff" * 9 + b"\x01"]
    data = b"".join(part + make_batch(5) for part in unknown) + unknown[0]
    assert read(data) == [make_event(5)] * 5
    assert list(BatchCreateAnalyticsEventsRequest.FromString(data).events) == [make_event(5)] * 5


def test_millions_of_empty_events_are_not_looked_at() -> None:
    assert sum(part.events for part in split_events(b"\x0a\x00" * 4_000_000)) == MAX_EVENTS + 1


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff\xff",
        b"\x0a\x7fabc",
        make_batch(1, 1)[:-1],
        b"\x10\xff",
        b"\x09abc",
    ],
)
def test_bytes_that_do_not_parse_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(data)
    with pytest.raises(MalformedMessage):
        read(make_batch(1) + data)


@given(st.binary(max_size=40))
def test_a_batch_is_malformed_if_the_parser_says_so(data: bytes) -> None:
    try:
        expected = list(BatchCreateAnalyticsEventsRequest.FromString(data).events)
    except Exception:  # noqa: BLE001 - whatever it is, ours must be a MalformedMessage
        with pytest.raises(MalformedMessage):
            read(data)
        return
    assert read(data) == expected


def test_a_small_batch_may_have_groups_that_are_not_known() -> None:
    group = b"\xfb\x7f\xfc\x7f"
    assert read(group + make_batch(5) + group) == [make_event(5)]
    assert read(group) == []


def test_a_thousand_unknown_fields_are_as_many_as_are_passed_over() -> None:
    assert read(b"\x10\x07" * 1_000 + make_batch(1)) == [make_event(1)]
    with pytest.raises(MalformedMessage):
        split_events(b"\x10\x07" * 1_001 + make_batch(1))
    with pytest.raises(MalformedMessage):
        parse_create(CreateAnalyticsEventRequest, b"\x98\x07\x07" * 100_000)


def make_lists(count: int) -> Struct:
    """Return an object of empty lists."""
    return Struct(fields={"a": Value(list_value=ListValue(values=[Value(list_value=ListValue())] * count))})


def test_an_object_that_must_be_too_large_is_not_parsed() -> None:
    large = make_event()
    large.version_info.CopyFrom(make_lists(40_000))
    data = BatchCreateAnalyticsEventsRequest(events=[make_event(), large, make_event()]).SerializeToString()
    found = [parse_slice(data, part) for part in split_events(data)]
    assert isinstance(found[1], InvalidRequest)
    assert [field for field, _ in found[1].violations] == ["version_info"]
    assert (found[0], found[2]) == ([make_event()], [make_event()])
    with pytest.raises(InvalidRequest) as caught:
        parse_create(CreateAnalyticsEventRequest, large.SerializeToString())
    assert caught.value.violations == found[1].violations


def test_an_object_within_its_limit_is_parsed_in_any_form() -> None:
    # Nothing takes more bytes as a message for those that it has as JSON.
    ones = ListValue(values=[Value(number_value=1)] * (MAX_VERSION_INFO_BYTES // 2))
    event = make_event(65_536)
    event.version_info.CopyFrom(Struct(fields={"": Value(list_value=ones)}))
    data = event.SerializeToString()
    assert len(data) > 128 << 10
    assert parse_create(CreateAnalyticsEventRequest, data) == event
    assert read(BatchCreateAnalyticsEventsRequest(events=[event]).SerializeToString()) == [event]
