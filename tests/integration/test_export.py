"""Exports of events by gRPC: what is exported, in which order, from which token on, and what is refused."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import ListAnalyticsEventsRequest
from data_analytics.v1.event_pb2 import EventRecord
from data_analytics.v1.export_pb2 import ExportAnalyticsEventsRequest, ExportAnalyticsEventsResponse
from server.messages.export import to_export_request
from tests.support import requests
from tests.support.database import execute
from tests.support.events import insert, make_event
from tests.support.in_process import Client
from tests.support.refusals import refused

EVENTS = 9_000
RARE = {
    "user_id": "rare",
    "entity_type": "contact",
    "entity_id": "rare",
    "recording_id": "rare",
    "event_type": "share",
    "tool_signature": "rare",
}
COMMON = {"entity_type": "lead", "entity_id": "entity", "recording_id": "recording"}
SEARCHED = {name: RARE[name] for name in ("user_id", "entity_type", "entity_id", "recording_id")}


def export(client: Client, customer: str, **fields: Any) -> Iterator[ExportAnalyticsEventsResponse]:
    request = ExportAnalyticsEventsRequest(**{"customer_id": customer, **fields})
    responses: Iterator[ExportAnalyticsEventsResponse] = client.events.ExportAnalyticsEvents(request, timeout=60)
    return responses


def read_all(responses: Iterator[ExportAnalyticsEventsResponse]) -> list[EventRecord]:
    """Return the events of a whole export, after checking its end."""
    *others, last = responses
    events = [event for response in (*others, last) for event in response.events]
    assert not any(response.HasField("end") for response in others)
    assert (last.HasField("end"), last.end.count) == (True, len(events))
    return events


def export_ids(client: Client, customer: str, **fields: Any) -> list[str]:
    return [event.id for event in read_all(export(client, customer, **fields))]


@pytest.fixture(scope="module")
def many(database_url: str) -> dict[str, list[str]]:
    """Store many events of one customer, of which few have one of the rare values, and return the ids by those."""
    changes: dict[str, dict[str, str]] = {"": {}, **{name: {name: value} for name, value in RARE.items()}, "all": RARE}
    names = list(changes)
    kinds = [names[number // 500 % len(names)] if number % 500 == 0 else "" for number in range(EVENTS)]
    ids = insert(database_url, *[make_event("exported", **changes[kind]) for kind in kinds])
    execute(database_url, "VACUUM ANALYZE analytics_event")
    found = {name: [i for i, kind in zip(ids, kinds, strict=True) if kind in (name, "all")] for name in changes}
    return {**found, "": ids, "all": [i for i, kind in zip(ids, kinds, strict=True) if kind == "all"]}


def test_an_export_has_the_events_of_a_list_whole_and_oldest_first(client: Client, customer: str) -> None:
    full = requests.analytics_event(customer, **requests.EVERY_OPTIONAL_FIELD, idempotency_key="key")
    for request in (full, requests.analytics_event(customer), requests.analytics_event(customer, version_info={})):
        client.events.CreateAnalyticsEvent(request, timeout=5)
    listed = client.events.ListAnalyticsEvents(ListAnalyticsEventsRequest(customer_id=customer), timeout=5).events
    assert read_all(export(client, customer)) == list(listed)[::-1]
    assert len(listed) == 3


def test_an_export_without_events_is_an_end(client: Client, customer: str) -> None:
    assert export_ids(client, customer) == []


def test_every_event_is_exported_once_and_in_order(client: Client, many: dict[str, list[str]]) -> None:
    assert export_ids(client, "exported") == many[""]


@pytest.mark.parametrize("name", RARE)
def test_each_filter_exports_its_events_alone(client: Client, many: dict[str, list[str]], name: str) -> None:
    assert export_ids(client, "exported", **{name: RARE[name]}) == many[name]
    assert len(many[name]) > 3


def test_filters_that_few_or_most_events_have_are_exact(client: Client, many: dict[str, list[str]]) -> None:
    assert export_ids(client, "exported", **RARE) == many["all"]
    assert export_ids(client, "exported", **SEARCHED) == many["all"]
    often = [i for i in many[""] if i not in set(many["user_id"])]
    assert export_ids(client, "exported", user_id="user") == often
    assert export_ids(client, "exported", user_id="nobody", event_type="view") == []


@pytest.mark.parametrize("fields", [{}, {"user_id": "user"}, {"event_type": "share"}, SEARCHED], ids=str)
def test_an_export_goes_on_from_its_tokens(client: Client, many: dict[str, list[str]], fields: dict[str, str]) -> None:
    responses = list(export(client, "exported", **fields))
    ids = [[event.id for event in response.events] for response in responses]
    for number in {*range(0, len(responses), 6), len(responses) - 1}:
        rest = export_ids(client, "exported", resume_token=responses[number].resume_token, **fields)
        assert rest == [each for part in ids[number + 1 :] for each in part]
    assert sum(map(len, ids)) == len(export_ids(client, "exported", **fields))


def test_since_and_until_bound_an_export(client: Client, database_url: str, customer: str) -> None:
    events = []
    for _ in range(4):
        events.append(make_event(customer))
        time.sleep(0.002)
    ids = insert(database_url, *events)
    since, until = events[1].created_at, events[3].created_at
    for fields in ({}, {"user_id": "user"}, {"user_id": "user", **COMMON}):
        assert export_ids(client, customer, since=since, until=until, **fields) == ids[1:3]
        assert export_ids(client, customer, since=since, **fields) == ids[1:]
        assert export_ids(client, customer, until=until, **fields) == ids[:3]
        assert export_ids(client, customer, since=until, until=since, **fields) == []


def test_what_is_created_after_the_beginning_is_not_exported(client: Client, database_url: str, customer: str) -> None:
    ids = insert(database_url, *[make_event(customer, message="m" * 2_000) for _ in range(1_000)])
    responses = list(export(client, customer))
    first = responses[0]
    assert 0 < len(first.events) < len(ids)
    late = insert(database_url, make_event(customer))
    assert export_ids(client, customer, resume_token=first.resume_token) == ids[len(first.events) :]
    assert export_ids(client, customer) == [*ids, *late]


def test_events_of_the_largest_size_are_exported(client: Client, customer: str, database_url: str) -> None:
    ids = insert(database_url, *[make_event(customer, message="\U0001f600" * 65_536) for _ in range(20)])
    assert export_ids(client, customer) == ids
    assert export_ids(client, customer, user_id="user") == ids


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
def test_a_token_of_another_export_is_refused(
    client: Client, many: dict[str, list[str]], change: dict[str, str]
) -> None:
    token = next(export(client, "exported")).resume_token
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        list(export(client, "exported", resume_token=token, **change))
    assert set(refusal.violations) == {"resume_token"}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 55), character=st.sampled_from("AZaz09-_=+/. \u00e9"))
def test_a_forged_token_is_refused(client: Client, place: int, character: str) -> None:
    token = next(export(client, "a customer without events")).resume_token
    forged = token[:place] + character + token[place + 1 :]
    if forged != token:
        with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
            list(export(client, "a customer without events", resume_token=forged))
        assert set(refusal.violations) == {"resume_token"}


@pytest.mark.parametrize("ids", ["ff", "0f", "f0", "00"])
@pytest.mark.parametrize("fields", [{}, {"event_type": "share"}, SEARCHED], ids=str)
def test_a_token_of_any_ids_asks_for_no_more_than_there_is(
    client: Client, many: dict[str, list[str]], ids: str, fields: dict[str, str]
) -> None:
    token = to_export_request(ExportAnalyticsEventsRequest(customer_id="exported", **fields)).make_token(
        *[digit * 32 for digit in ids]
    )
    name = next(iter(fields)) if len(fields) == 1 else "all" if fields else ""
    expected = many[name] if ids == "0f" else []
    assert export_ids(client, "exported", resume_token=token, **fields) == expected


def test_every_field_of_an_export_at_fault_is_named_at_once(client: Client) -> None:
    names = ("user_id", "entity_id", "recording_id", "event_type", "tool_signature", "resume_token")
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        list(export(client, "", entity_type="account", since="now", **dict.fromkeys(names, "x" * 256)))
    assert set(refusal.violations) == {"customer_id", "entity_type", "since", *names}
