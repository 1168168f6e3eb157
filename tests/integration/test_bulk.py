"""Bulk writes: batches and the stream."""

import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
    WriteAnalyticsEventsResponse,
)
from tests.support import requests
from tests.support.database import query
from tests.support.in_process import Client
from tests.support.refusals import refused


def batch_of(customer: str, count: int) -> BatchCreateAnalyticsEventsRequest:
    events = [requests.analytics_event(customer, message=str(number)) for number in range(count)]
    return BatchCreateAnalyticsEventsRequest(events=events)


def chunks(customer: str, count: int, size: int) -> Iterator[WriteAnalyticsEventsRequest]:
    for chunk in range(count):
        events = [requests.analytics_event(customer, message=f"{chunk}.{number}") for number in range(size)]
        yield WriteAnalyticsEventsRequest(events=events)


def find_messages(client: Client, customer: str) -> list[str]:
    answer = client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer, page_size=1_000), timeout=10)
    return [record.message for record in reversed(answer.recordings)]


def test_a_batch_is_answered_with_each_events_id_and_time(client: Client, customer: str) -> None:
    answer = client.events.BatchCreateAnalyticsEvents(batch_of(customer, 1_000), timeout=10)
    assert (answer.stored_count, answer.refused_count) == (1_000, 0)
    assert [outcome.index for outcome in answer.outcomes] == list(range(1_000))
    ids = [outcome.stored.id for outcome in answer.outcomes]
    assert ids == sorted(set(ids))
    assert all(outcome.stored.created_at.endswith("Z") for outcome in answer.outcomes)
    assert find_messages(client, customer) == [str(number) for number in range(1_000)]


def test_a_bad_event_is_refused_by_its_index_and_the_others_are_stored(client: Client, customer: str) -> None:
    request = batch_of(customer, 6)
    request.events[1].customer_id = ""
    request.events[1].message = "\0"
    request.events[4].entity_type = "account"
    request.events[5].version_info["a\0"] = 1
    answer = client.events.BatchCreateAnalyticsEvents(request, timeout=5)
    assert (answer.stored_count, answer.refused_count) == (3, 3)
    violations = {
        outcome.index: {violation.field for violation in outcome.refused.violations}
        for outcome in answer.outcomes
        if outcome.HasField("refused")
    }
    assert violations == {1: {"customer_id", "message"}, 4: {"entity_type"}, 5: {"version_info"}}
    assert find_messages(client, customer) == ["0", "2", "3"]


def test_a_batch_of_only_bad_events_is_answered_event_by_event(client: Client) -> None:
    answer = client.events.BatchCreateAnalyticsEvents(batch_of("", 3), timeout=5)
    assert (answer.stored_count, answer.refused_count) == (0, 3)


def test_a_batch_is_one_transaction(client: Client, customer: str, database_url: str) -> None:
    client.events.BatchCreateAnalyticsEvents(batch_of(customer, 500), timeout=5)
    # xmin names the transaction that wrote a row.
    transactions = "SELECT count(DISTINCT xmin::text) FROM analytics_event WHERE customer_id = %s"
    assert query(database_url, transactions, customer) == [(1,)]


@pytest.mark.parametrize("count", [0, 1_001])
def test_an_empty_batch_and_one_of_too_many_events_are_refused(client: Client, customer: str, count: int) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.BatchCreateAnalyticsEvents(batch_of(customer, count), timeout=5)
    assert set(refusal.violations) == {"events"}


def test_a_batch_may_be_larger_than_the_limit_of_one_event(client: Client, customer: str) -> None:
    request = batch_of(customer, 120)
    for event in request.events:
        event.message = "m" * 65_536
    assert request.ByteSize() > 7 << 20
    assert client.events.BatchCreateAnalyticsEvents(request, timeout=10).stored_count == 120


def test_chunks_of_a_stream_are_answered_in_order_after_their_commit(client: Client, customer: str) -> None:
    answers = list(client.events.WriteAnalyticsEvents(chunks(customer, 30, 20), timeout=20))
    assert [answer.chunk for answer in answers] == list(range(30))
    assert {answer.committed.stored_count for answer in answers} == {20}
    stored = find_messages(client, customer)
    assert stored == [f"{chunk}.{number}" for chunk in range(30) for number in range(20)]


def test_a_bad_event_in_a_chunk_is_refused_by_its_index(client: Client, customer: str) -> None:
    (request,) = chunks(customer, 1, 3)
    request.events[2].user_id = ""
    (answer,) = client.events.WriteAnalyticsEvents(iter([request]), timeout=5)
    assert answer.committed.stored_count == 2
    assert answer.committed.outcomes[2].refused.violations[0].field == "user_id"


def test_a_bad_chunk_ends_the_stream_after_the_commit_of_those_before_it(client: Client, customer: str) -> None:
    sent = [*chunks(customer, 2, 5), WriteAnalyticsEventsRequest()]
    answers: list[WriteAnalyticsEventsResponse] = []
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        for answer in client.events.WriteAnalyticsEvents(iter(sent), timeout=5):
            answers.append(answer)  # noqa: PERF402 - the answers before the error are needed
    assert [answer.WhichOneof("outcome") for answer in answers] == ["committed", "committed", "failed"]
    assert answers[2].failed.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert len(find_messages(client, customer)) == 10


def test_a_stream_whose_answers_are_not_read_is_held_back(client: Client, customer: str) -> None:
    sent = 0

    def endless() -> Iterator[WriteAnalyticsEventsRequest]:
        nonlocal sent
        # Every event is refused: nothing is written, and the answers are as large as possible.
        bad = WriteAnalyticsEventsRequest(events=[requests.analytics_event("")] * 1_000)
        for _ in range(100_000):
            sent += 1
            yield bad

    call = client.events.WriteAnalyticsEvents(endless(), timeout=30)
    # The transport buffers some mebibytes of answers. A stream that is not held back would send all chunks.
    before = -1
    while sent > before:
        before = sent
        time.sleep(1)
    assert sent < 2_000
    assert next(call).committed.refused_count == 1_000
    call.cancel()


def test_chunks_that_were_answered_stay_committed_when_the_stream_breaks(client: Client, customer: str) -> None:
    hold = threading.Event()

    def slow() -> Iterator[WriteAnalyticsEventsRequest]:
        yield from chunks(customer, 5, 4)
        hold.wait(10)

    call = client.events.WriteAnalyticsEvents(slow(), timeout=20)
    answered = [next(call).chunk for _ in range(5)]
    call.cancel()
    hold.set()
    assert answered == list(range(5))
    assert len(find_messages(client, customer)) == 20
