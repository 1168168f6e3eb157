from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import convert
from server.validation import InvalidRequest
from tests.support import requests


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_a_time_is_printed_with_three_digits_and_a_z(instant: datetime) -> None:
    printed = convert.timestamp(instant)
    assert len(printed) == len("2018-09-03T17:06:05.719Z")
    assert datetime.fromisoformat(printed) == instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def test_a_whole_second_keeps_its_zeros() -> None:
    assert convert.timestamp(datetime(2018, 11, 2, 13, 12, 4, tzinfo=UTC)) == "2018-11-02T13:12:04.000Z"


def test_the_time_of_an_event_is_the_one_inside_its_id() -> None:
    event = convert.new_event(requests.lead_event("c"), "lead", "l")
    milliseconds = int(event.id.replace("-", "")[:12], 16)
    assert event.created_at == datetime.fromtimestamp(milliseconds / 1000, UTC) == event.updated_at


def test_every_field_of_a_request_reaches_the_event() -> None:
    request = requests.analytics_event("customer", **requests.EVERY_OPTIONAL_FIELD)
    event = convert.new_event(request, request.entity_type, request.entity_id)
    for field in request.DESCRIPTOR.fields:
        if field.name != "version_info":
            assert getattr(event, field.name) == getattr(request, field.name) != ""
    assert event.version_info is not None
    assert '"package":"1.2"' in event.version_info


def test_violations_of_annotations_and_of_version_info_come_together() -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert.new_event(requests.lead_event("", version_info={"\0": 1}), "lead", "l")
    assert [violation.field for violation in caught.value.violations] == ["customer_id", "version_info"]
