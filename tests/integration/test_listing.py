"""Lists of events by gRPC: what is listed, in which order, in which pages, and what is refused."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    GetAnalyticsEventRequest,
    ListAnalyticsEventsRequest,
    ListAnalyticsEventsResponse,
)
from data_analytics.v1.event_pb2 import EventRecord
from tests.support import requests
from tests.support.database import execute
from tests.support.events import insert, make_event
from tests.support.in_process import Client, RunningServer
from tests.support.refusals import refused


def list_events(client: Client, customer: str, **fields: Any) -> ListAnalyticsEventsResponse:
    return client.events.ListAnalyticsEvents(ListAnalyticsEventsRequest(customer_id=customer, **fields), timeout=20)


def walk(client: Client, customer: str, **fields: Any) -> Iterator[ListAnalyticsEventsResponse]:
    """Yield the pages of a list."""
    token = ""
    while True:
        page = list_events(client, customer, page_token=token, **fields)
        yield page
        token = page.next_page_token
        if not token:
            return


def store(client: Client, customer: str, **fields: object) -> str:
    """Store an event and return its id."""
    answer = client.events.CreateAnalyticsEvent(requests.analytics_event(customer, **fields), timeout=5)
    return answer.partition_key.partition("|")[2]


def store_many(client: Client, *events: Mapping[str, Any]) -> list[str]:
    """Store events in one batch and return their ids."""
    batch = [requests.analytics_event(**event) for event in events]
    answer = client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=batch), timeout=20)
    return [outcome.stored.id for outcome in answer.outcomes]


def get_event(client: Client, customer: str, event_id: str) -> EventRecord:
    return client.events.GetAnalyticsEvent(GetAnalyticsEventRequest(customer_id=customer, id=event_id), timeout=5)


def test_an_event_is_listed_and_returned_with_all_that_was_sent(client: Client, customer: str) -> None:
    sent = requests.analytics_event(customer, **requests.EVERY_OPTIONAL_FIELD, idempotency_key="key")
    created = client.events.CreateAnalyticsEvent(sent, timeout=5)
    (listed,) = list_events(client, customer).events
    for field in sent.DESCRIPTOR.fields:
        assert getattr(listed, field.name) == getattr(sent, field.name)
    assert MessageToDict(listed.version_info) == requests.EVERY_OPTIONAL_FIELD["version_info"]
    assert listed.id == created.partition_key.partition("|")[2]
    assert (listed.created_at, listed.updated_at) == (created.created_at, created.updated_at)
    assert get_event(client, customer, listed.id) == listed


def test_an_event_without_version_info_has_none(client: Client, customer: str) -> None:
    store(client, customer)
    assert not list_events(client, customer).events[0].HasField("version_info")


def test_a_version_info_at_its_limits_is_listed(client: Client, customer: str) -> None:
    deep: dict[str, object] = {"number": 1e99}
    for _ in range(29):
        deep = {"": deep}
    store(client, customer, version_info=deep)
    assert MessageToDict(list_events(client, customer).events[0].version_info) == deep


def test_the_event_of_another_customer_is_not_found(client: Client, customer: str) -> None:
    event_id = store(client, customer)
    with refused(grpc.StatusCode.NOT_FOUND):
        get_event(client, f"{customer} ", event_id)
    with refused(grpc.StatusCode.NOT_FOUND):
        get_event(client, customer, str(uuid.uuid4()))
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        get_event(client, "", "no uuid")
    assert set(refusal.violations) == {"customer_id", "id"}


FILTERS = {
    "user_id": "u",
    "entity_type": "contact",
    "entity_id": "e",
    "recording_id": "r",
    "event_type": "share",
    "tool_signature": "tool",
}


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_lists_its_events_alone(client: Client, customer: str, name: str) -> None:
    own = store(client, customer, **{name: FILTERS[name]})
    store(client, customer)
    assert [event.id for event in list_events(client, customer, **{name: FILTERS[name]}).events] == [own]
    assert not list_events(client, customer, **{**FILTERS, name: FILTERS[name]}).events


def test_all_filters_together_list_what_has_them_all(client: Client, customer: str) -> None:
    own = [store(client, customer, **FILTERS) for _ in range(3)]
    for name, other in requests.analytics_event(customer, tool_signature="other").ListFields():
        if name.name in FILTERS:
            store(client, customer, **{**FILTERS, name.name: other})
    pages = list(walk(client, customer, page_size=2, **FILTERS))
    assert [event.id for page in pages for event in page.events] == own[::-1]


def test_since_and_until_bound_the_time_of_an_event(client: Client, customer: str) -> None:
    store(client, customer)
    (event,) = list_events(client, customer).events
    moment = event.created_at
    later = f"{moment[:-1]}999Z"  # Within the same millisecond.
    assert len(list_events(client, customer, since=moment).events) == 1
    assert len(list_events(client, customer, since=later).events) == 1
    assert not list_events(client, customer, until=moment).events
    assert len(list_events(client, customer, until="9999-12-31T23:59:59Z", since="0001-01-01T00:00:00Z").events) == 1
    assert not list_events(client, customer, since="9999-12-31T23:59:59Z").events
    assert not list_events(client, customer, until="1960-01-01T00:00:00+01:00").events


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "2026-02-30T00:00:00Z", "2026-01-31T00:00:00"])
def test_what_is_no_time_is_refused_by_its_field(client: Client, customer: str, text: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        list_events(client, customer, since=text, until=text)
    assert set(refusal.violations) == {"since", "until"}


def test_every_field_of_a_list_at_fault_is_named_at_once(client: Client) -> None:
    names = ("user_id", "entity_id", "recording_id", "event_type", "tool_signature", "page_token")
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        list_events(client, "", entity_type="account", page_size=1_001, **dict.fromkeys(names, "x" * 256))
    assert set(refusal.violations) == {"customer_id", "entity_type", "page_size", *names}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 9), user=st.sampled_from(["", "a", "b", "nobody"]), searched=st.booleans())
def test_pages_of_a_list_partition_it(client: Client, many: list[str], size: int, user: str, searched: bool) -> None:
    fields = {"user_id": user}
    if searched:
        fields |= {"entity_type": "lead", "entity_id": "entity", "recording_id": "recording"}
    pages = list(walk(client, "listed", page_size=size, **fields))
    expected = [each for number, each in enumerate(many) if user in ("", "ab"[number % 2])]
    assert [event.id for page in pages for event in page.events] == expected[::-1]
    assert all(len(page.events) == size for page in pages[:-1])
    assert pages[-1].events or not expected


@pytest.fixture(scope="session")
def many(server: RunningServer) -> list[str]:
    return store_many(server.client, *[{"customer": "listed", "user_id": "ab"[number % 2]} for number in range(20)])


def test_a_page_has_fifty_events_by_default(client: Client, customer: str) -> None:
    ids = store_many(client, *[{"customer": customer}] * 51)
    first, second = walk(client, customer)
    assert [event.id for event in first.events] == ids[:0:-1]
    assert [event.id for event in second.events] == ids[:1]


def test_events_that_arrive_meanwhile_repeat_and_hide_none(client: Client, customer: str) -> None:
    before = store_many(client, *[{"customer": customer}] * 7)
    seen = []
    for page in walk(client, customer, page_size=2):
        seen += [event.id for event in page.events]
        store(client, customer)
    assert seen == before[::-1]


def test_an_event_that_is_committed_late_is_on_one_page_at_most(
    client: Client, database_url: str, customer: str
) -> None:
    late = [make_event(customer) for _ in range(2)]
    time.sleep(0.002)  # Their ids are the oldest.
    before = store_many(client, *[{"customer": customer}] * 6)
    time.sleep(0.002)
    newest = make_event(customer)
    first = list_events(client, customer, page_size=3)
    for event in (*late, newest):
        insert(database_url, event)
    rest = [event.id for page in walk_on(client, customer, first.next_page_token, page_size=3) for event in page.events]
    seen = [event.id for event in first.events] + rest
    assert seen == [*before[::-1], *[event.id for event in late[::-1]]]
    assert list_events(client, customer).events[0].id == newest.id


def walk_on(client: Client, customer: str, token: str, **fields: Any) -> Iterator[ListAnalyticsEventsResponse]:
    while token:
        page = list_events(client, customer, page_token=token, **fields)
        yield page
        token = page.next_page_token


@pytest.mark.parametrize(
    "change",
    [
        {"customer_id": "other"},
        {"user_id": "user"},
        {"since": "2026-01-01T00:00:00Z"},
        {"until": "2999-01-01T00:00:00Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_token_of_another_list_is_refused(client: Client, customer: str, change: dict[str, str]) -> None:
    store_many(client, *[{"customer": customer}] * 2)
    token = list_events(client, customer, page_size=1).next_page_token
    assert len(list_events(client, customer, page_size=2, page_token=token).events) == 1
    request = ListAnalyticsEventsRequest(customer_id=customer, page_token=token)
    for name, value in change.items():
        setattr(request, name, value)
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.ListAnalyticsEvents(request, timeout=5)
    assert set(refusal.violations) == {"page_token"}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 47), character=st.sampled_from("AZaz09-_=+/. \u00e9"))
def test_a_forged_token_is_refused(client: Client, many: list[str], place: int, character: str) -> None:
    token = list_events(client, "listed", page_size=1).next_page_token
    forged = token[:place] + character + token[place + 1 :]
    if forged == token:
        return
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        list_events(client, "listed", page_token=forged)
    assert set(refusal.violations) == {"page_token"}


def test_a_list_page_over_sixteen_mebibytes_is_refused(client: Client, customer: str) -> None:
    for _ in range(4):
        store_many(client, *[{"customer": customer, "message": "m" * 65_536}] * 64)
    assert len(list_events(client, customer, page_size=60).events) == 60
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        list_events(client, customer, page_size=256)
    assert set(refusal.violations) == {"page_size"}


def test_old_events_of_a_large_customer_are_listed(client: Client, database_url: str, customer: str) -> None:
    rare = [store(client, customer, user_id="rare", tool_signature="rare") for _ in range(3)]
    for _ in range(9):
        store_many(client, *[{"customer": customer, "user_id": "often"}] * 500)
    execute(database_url, "VACUUM analytics_event")
    assert len(list_events(client, customer, user_id="often", page_size=1_000).events) == 1_000
    for fields in ({"user_id": "rare"}, {"tool_signature": "rare"}, {"user_id": "rare", "event_type": "view"}):
        pages = list(walk(client, customer, page_size=2, **fields))
        assert [[event.id for event in page.events] for page in pages] == [rare[:0:-1], rare[:1]]
    assert not list_events(client, customer, user_id="nobody").events
