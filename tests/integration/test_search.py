"""Searches by gRPC: what is found, in which order, in which pages, and what is refused."""

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from data_analytics.v1.contact_analytics_service_pb2 import SearchContactAnalyticsEventsRequest
from data_analytics.v1.event_pb2 import RecordedEvent
from tests.support import requests
from tests.support.in_process import Client, RunningServer
from tests.support.refusals import refused
from tests.support.searching import search


def store(client: Client, customer: str, **fields: object) -> str:
    """Store a lead event and return its id."""
    answer = client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer, **fields), timeout=5)
    return answer.partition_key.partition("|")[2]


def test_a_stored_event_is_found_with_its_eleven_fields(client: Client, customer: str) -> None:
    created = client.leads.CreateLeadAnalyticsEvent(
        requests.lead_event(customer, **requests.EVERY_OPTIONAL_FIELD), timeout=5
    )
    (found,) = search(client, customer).recordings
    assert (found.customer_id, found.entity_type, found.entity_id) == (customer, "lead", "entity")
    assert (found.user_id, found.recording_id, found.event_type) == ("user", "recording", "view")
    assert (found.tool_signature, found.event_id, found.message) == ("vfp", "view#1", "a message")
    assert (found.created_at, found.updated_at) == (created.created_at, created.updated_at)


def test_an_event_is_found_whichever_rpc_stored_it(client: Client, customer: str) -> None:
    store(client, customer, message="by the lead route")
    client.events.CreateAnalyticsEvent(requests.analytics_event(customer, message="by the other route"), timeout=5)
    client.contacts.CreateContactAnalyticsEvent(requests.contact_event(customer, message="of a contact"), timeout=5)
    client.events.CreateAnalyticsEvent(
        requests.analytics_event(customer, entity_type="contact", message="of a contact too"), timeout=5
    )
    leads = search(client, customer)
    assert [found.message for found in leads.recordings] == ["by the other route", "by the lead route"]
    contacts = client.contacts.SearchContactAnalyticsEvents(
        SearchContactAnalyticsEventsRequest(
            customer_id=customer, user_id="user", contact_id="entity", recording_id=["recording"]
        ),
        timeout=5,
    )
    assert [found.message for found in contacts.recordings] == ["of a contact too", "of a contact"]


@pytest.mark.parametrize("field", ["customer_id", "user_id", "lead_id", "recording_id"])
def test_an_event_that_differs_in_one_searched_field_is_not_found(client: Client, customer: str, field: str) -> None:
    store(client, customer)
    request = requests.lead_search(customer)
    if field == "recording_id":
        request.recording_id[:] = ["another"]
    else:
        setattr(request, field, "another")
    answer = client.leads.SearchLeadAnalyticsEvents(request, timeout=5)
    assert (len(answer.recordings), answer.meta.row_count) == (0, 0)


def test_ids_that_are_equal_when_joined_are_not_confused(client: Client, customer: str) -> None:
    store(client, customer, lead_id="ab", user_id="c")
    assert search(client, customer, lead_id="a", user_id="bc").meta.row_count == 0


def test_the_longest_ids_of_four_byte_characters_are_found(client: Client) -> None:
    longest = {
        name: character * 255
        for name, character in zip(
            ("user_id", "lead_id", "recording_id"), ("\U0001f600", "\U0001f680", "\U0001f9d1"), strict=True
        )
    }
    customer = "\U00010348" * 255
    store(client, customer, **longest)
    found = search(client, customer, **{**longest, "recording_id": [longest["recording_id"]]})
    assert found.meta.row_count >= 1
    assert found.recordings[0].user_id == longest["user_id"]


def test_a_page_has_ten_events_by_default(client: Client, customer: str) -> None:
    ids = [store(client, customer, event_id=str(number)) for number in range(12)]
    answer = search(client, customer)
    assert [found.event_id for found in answer.recordings] == [str(number) for number in range(11, 1, -1)]
    assert (answer.meta.page, answer.meta.page_size, answer.meta.row_count) == (1, 10, 12)
    assert ids == sorted(ids)


def test_a_page_past_the_end_is_empty_and_has_the_true_row_count(client: Client, customer: str) -> None:
    store(client, customer)
    answer = search(client, customer, page=100, page_size=1_000)
    assert (list(answer.recordings), answer.meta.row_count) == ([], 1)
    assert answer.meta.page == 100


@pytest.mark.parametrize(("page", "page_size"), [(101, 1_000), (100_001, 1), (2_147_483_647, 1_000)])
def test_a_page_that_ends_after_100000_events_is_refused(
    client: Client, customer: str, page: int, page_size: int
) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, customer, page=page, page_size=page_size)
    assert refusal.violations == {"page": "times the page size must be at most 100,000"}


def test_latest_keeps_the_newest_event_of_each_recording(client: Client, customer: str) -> None:
    for message in ("old", "new"):
        for recording in ("a", "b"):
            store(client, customer, recording_id=recording, message=message)
    store(client, customer, recording_id="not asked for")
    answer = search(client, customer, recording_id=["a", "b", "a", "unknown"], latest=True)
    assert [(found.recording_id, found.message) for found in answer.recordings] == [("b", "new"), ("a", "new")]
    assert answer.meta.row_count == 2


def test_a_recording_that_is_given_twice_counts_once(client: Client, customer: str) -> None:
    store(client, customer)
    assert search(client, customer, recording_id=["recording", "recording"]).meta.row_count == 1


@settings(max_examples=12)
@given(st.integers(1, 9), st.booleans(), st.sets(st.sampled_from("abc"), min_size=1))
def test_pages_partition_the_result(partitioned: tuple[Client, str], size: int, latest: bool, asked: set[str]) -> None:
    client, customer = partitioned
    whole = search(client, customer, recording_id=asked, latest=latest, page_size=1_000)
    pages: list[RecordedEvent] = []
    for page in range(1, whole.meta.row_count // size + 3):
        answer = search(client, customer, recording_id=asked, latest=latest, page=page, page_size=size)
        assert answer.meta.row_count == whole.meta.row_count == len(whole.recordings)
        pages += answer.recordings
    assert pages == list(whole.recordings)
    times = [found.created_at for found in pages]
    assert times == sorted(times, reverse=True)


@pytest.fixture(scope="session")
def partitioned(server: RunningServer) -> tuple[Client, str]:
    client = server.client
    calls = [
        client.leads.CreateLeadAnalyticsEvent.future(
            requests.lead_event("partitioned", recording_id="abc"[number % 3], event_id=str(number)), timeout=10
        )
        for number in range(20)
    ]
    for call in calls:
        call.result()
    return client, "partitioned"


def test_every_field_of_a_search_at_fault_is_named_at_once(client: Client) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, "", user_id="", lead_id="", recording_id=[], page=0, page_size=1_001)
    assert set(refusal.violations) == {"customer_id", "user_id", "lead_id", "recording_id", "page", "page_size"}


def test_an_item_at_fault_is_named_with_its_index(client: Client, customer: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, customer, recording_id=["good", "", "r" * 256])
    assert set(refusal.violations) == {"recording_id[1]", "recording_id[2]"}


def test_a_search_takes_five_hundred_recordings_and_no_more(client: Client, customer: str) -> None:
    names = [f"recording {number}" for number in range(501)]
    store(client, customer, recording_id=names[499])
    assert search(client, customer, recording_id=names[:500]).meta.row_count == 1
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, customer, recording_id=names)
    assert set(refusal.violations) == {"recording_id"}


def test_a_refusal_of_hundreds_of_items_arrives(client: Client, customer: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, customer, recording_id=[""] * 500)
    assert 0 < len(refusal.violations) < 500


def test_a_page_over_sixteen_mebibytes_is_refused(client: Client, customer: str) -> None:
    events = [requests.analytics_event(customer, message="m" * 65_536)] * 64
    for _ in range(4):
        client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=events), timeout=10)
    assert len(search(client, customer, page_size=60).recordings) == 60
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        search(client, customer, page_size=256)
    assert set(refusal.violations) == {"page_size"}
