"""Searches with page tokens and as of a time, by gRPC: pages of any number that stay as they are."""

import time
from collections.abc import Iterator, Mapping

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    ListAnalyticsEventsRequest,
)
from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsResponse
from tests.support import requests
from tests.support.in_process import Client, RunningServer
from tests.support.refusals import refused
from tests.support.searching import search


def walk(client: Client, customer: str, **fields: object) -> Iterator[SearchLeadAnalyticsEventsResponse]:
    """Yield the pages of a search, each by the token of the one before."""
    token = ""
    while True:
        page = search(client, customer, page_token=token, **fields)
        yield page
        token = page.meta.next_page_token
        if not token:
            return


def store(client: Client, customer: str, *events: Mapping[str, object]) -> None:
    batch = [requests.analytics_event(customer, **event) for event in events]
    answer = client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=batch), timeout=20)
    assert answer.stored_count == len(events)


def list_names(page: SearchLeadAnalyticsEventsResponse) -> list[str]:
    return [event.event_id for event in page.recordings]


@pytest.fixture(scope="session")
def partitioned(server: RunningServer) -> tuple[Client, str]:
    events = [{"recording_id": "abc"[number % 3], "event_id": str(number)} for number in range(20)]
    store(server.client, "by token", *events)
    return server.client, "by token"


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.booleans(), st.sets(st.sampled_from("abc"), min_size=1), st.booleans())
def test_pages_by_token_partition_the_result(
    partitioned: tuple[Client, str], size: int, latest: bool, asked: set[str], has_time: bool
) -> None:
    client, customer = partitioned
    fields = {"recording_id": sorted(asked), "latest": latest}
    whole = search(client, customer, page_size=1_000, **fields)
    time_fields = {"as_of": "2999-01-01T00:00:00Z"} if has_time else {}
    pages = list(walk(client, customer, page_size=size, **fields, **time_fields))
    assert [event for page in pages for event in page.recordings] == list(whole.recordings)
    assert [page.meta.page for page in pages] == list(range(1, len(pages) + 1))
    assert {page.meta.row_count for page in pages} == {whole.meta.row_count}
    assert all(len(page.recordings) == size for page in pages[:-1])
    assert pages[-1].recordings


def test_a_search_without_token_or_time_has_no_token(client: Client, customer: str) -> None:
    store(client, customer, *[{}] * 2)
    assert not search(client, customer, page_size=1).meta.HasField("next_page_token")
    assert search(client, customer, page_size=1, page_token="").meta.next_page_token
    last = search(client, customer, page_size=2, page_token="").meta
    assert (last.HasField("next_page_token"), last.next_page_token) == (True, "")


def test_pages_by_number_as_of_a_time_stay_as_they_are(client: Client, customer: str) -> None:
    store(client, customer, *[{"event_id": str(number)} for number in range(6)])
    moment = search(client, customer).recordings[0].created_at
    time.sleep(0.002)
    found = []
    for number in (1, 2, 3):
        page = search(client, customer, page=number, page_size=2, as_of=moment)
        assert (page.meta.page, page.meta.row_count, bool(page.meta.next_page_token)) == (number, 6, number < 3)
        found += list_names(page)
        store(client, customer, {"event_id": "later"})
    assert found == ["5", "4", "3", "2", "1", "0"]
    assert search(client, customer, as_of="2000-01-01T00:00:00Z").meta.row_count == 0


@pytest.mark.parametrize("latest", [False, True])
def test_pages_by_token_stay_as_they_are(client: Client, customer: str, latest: bool) -> None:
    recordings = list("abcd")
    store(client, customer, *[{"recording_id": name, "event_id": name} for name in recordings])
    moment = search(client, customer, recording_id=recordings).recordings[0].created_at
    time.sleep(0.002)
    found = []
    for page in walk(client, customer, recording_id=recordings, page_size=1, latest=latest, as_of=moment):
        found += list_names(page)
        store(client, customer, *[{"recording_id": name, "event_id": "later"} for name in recordings])
    assert found == ["d", "c", "b", "a"]


def test_tokens_go_further_than_numbers(client: Client, customer: str) -> None:
    for _ in range(101):
        store(client, customer, *[{}] * 1_000)
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        search(client, customer, page=101, page_size=1_000)
    pages = [(len(page.recordings), page.meta.row_count) for page in walk(client, customer, page_size=1_000)]
    assert pages == [(1_000, 101_000)] * 101


def test_a_token_of_another_search_is_refused(client: Client, customer: str) -> None:
    store(client, customer, *[{}] * 3)
    token = search(client, customer, page_size=1, page_token="").meta.next_page_token
    assert len(search(client, customer, page_token=token).recordings) == 2
    others = {"user_id": "other", "lead_id": "other", "recording_id": ["other"], "latest": True}
    for name, value in {**others, "as_of": "2999-01-01T00:00:00Z", "page_token": token[:-1] + "_"}.items():
        with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
            search(client, customer, **{"page_token": token, name: value})
        assert set(refusal.violations) == {"page_token"}
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.ListAnalyticsEvents(ListAnalyticsEventsRequest(customer_id=customer, page_token=token), timeout=5)
    assert set(refusal.violations) == {"page_token"}


def test_a_page_number_beside_a_token_is_refused(client: Client, customer: str) -> None:
    store(client, customer, *[{}] * 2)
    token = search(client, customer, page_size=1, page_token="").meta.next_page_token
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, customer, page=2, page_token=token)
    assert set(refusal.violations) == {"page"}
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, customer, as_of="now")
    assert set(refusal.violations) == {"as_of"}
