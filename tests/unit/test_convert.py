"""Messages to events: nothing is lost, and the request stays as it was."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from server.messages.convert import ANALYTICS, CONTACT, LEAD
from server.messages.explanations import Explanations
from server.messages.refusals import InvalidRequest
from server.messages.search import MAX_RECORDINGS, to_query
from storage import TEXT_COUNT, Event
from storage.event import format_time
from tests.support import requests


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_a_time_is_printed_with_three_digits_and_a_z(instant: datetime) -> None:
    whole = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    printed = format_time((whole - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1))
    assert len(printed) == len("2018-09-03T17:06:05.719Z")
    assert datetime.fromisoformat(printed) == whole


def test_a_whole_second_keeps_its_zeros() -> None:
    assert format_time(1_541_164_324_000) == "2018-11-02T13:12:04.000Z"


def test_the_time_of_an_event_is_the_one_inside_its_id() -> None:
    event = LEAD.to_event(requests.lead_event("c"))
    assert event.created_at == format_time(int(event.id.replace("-", "")[:12], 16)) == event.updated_at


def test_every_field_of_a_request_reaches_the_event() -> None:
    fields: dict[str, Any] = {name: name for name in Event._fields[:TEXT_COUNT]}
    request = CreateAnalyticsEventRequest(**fields)
    request.entity_type = "contact"
    event = ANALYTICS.to_event(request)
    for name in Event._fields[:TEXT_COUNT]:
        assert getattr(event, name) == getattr(request, name) == ("contact" if name == "entity_type" else name)
    assert {field.name for field in request.DESCRIPTOR.fields} == {*Event._fields[:TEXT_COUNT], "version_info"}


def test_a_lead_and_a_contact_reach_the_event_under_either_name() -> None:
    lead = requests.lead_event("c", lead_id="l", message="m")
    contact = requests.contact_event("c", contact_id="", entity_id="e", user_id="u")
    assert LEAD.to_event(lead)[:9] == ("c", "user", "recording", "view", "lead", "l", "", "", "m")
    assert CONTACT.to_event(contact)[:6] == ("c", "u", "recording", "view", "contact", "e")


def test_violations_of_annotations_and_of_version_info_come_together() -> None:
    with pytest.raises(InvalidRequest) as caught:
        LEAD.to_event(requests.lead_event("", version_info={"\0": 1}))
    assert [violation.field for violation in caught.value.violations] == ["customer_id", "version_info"]


def test_a_request_stays_as_it_was() -> None:
    both = requests.lead_event("c", lead_id="l", entity_id="l")
    many = requests.lead_search("c", recording_id=[""] * (MAX_RECORDINGS + 9))
    copies = type(both).FromString(both.SerializeToString()), type(many).FromString(many.SerializeToString())
    assert LEAD.to_event(both).entity_id == "l"
    both.user_id = copies[0].user_id = ""
    with pytest.raises(InvalidRequest) as caught:
        LEAD.to_event(both)
    assert [violation.field for violation in caught.value.violations] == ["user_id"]
    with pytest.raises(InvalidRequest) as caught:
        to_query(many, "lead", "l")
    # One of the list and one of each id, of which there are not more than one too many.
    assert len(caught.value.violations) <= MAX_RECORDINGS + 2
    assert (both, many) == copies


# Of the last two, the first is right for each kind and the second only where the entity has one name.
CHANGES: list[dict[str, Any]] = [
    {},
    requests.EVERY_OPTIONAL_FIELD,
    {"user_id": ""},
    {"recording_id": "a\0b", "event_type": "x" * 256},
    {"version_info": {"a": "\0"}},
    {"user_id": "", "version_info": {"\0": 1}},
    {"entity_id": "entity"},
    {"entity_id": "another"},
]


@pytest.mark.parametrize(
    ("kind", "make"),
    [(ANALYTICS, requests.analytics_event), (LEAD, requests.lead_event), (CONTACT, requests.contact_event)],
)
@given(changes=st.lists(st.sampled_from(CHANGES) | st.sampled_from(CHANGES[:2]), max_size=4))
def test_many_requests_become_what_each_becomes(kind: Any, make: Any, changes: list[dict[str, Any]]) -> None:
    many = [make("c", **each) for each in changes]
    assert list(map(describe, kind.to_events(many, Explanations()))) == [
        describe(try_to_event(kind, each)) for each in many
    ]


def try_to_event(kind: Any, request: Any) -> Event | InvalidRequest:
    try:
        event: Event = kind.to_event(request)
    except InvalidRequest as error:
        return error
    return event


def describe(event: Event | InvalidRequest) -> Any:
    """Return what is wrong with an event, or everything of it that its caller sent."""
    return event[: TEXT_COUNT + 1] if isinstance(event, Event) else event.violations
