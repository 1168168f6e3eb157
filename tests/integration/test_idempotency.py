"""Idempotency keys: an event is stored once, however often it is sent, and every time gets the first answer."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psycopg2
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest, WriteAnalyticsEventsRequest
from server.messages.wording import KEY_REUSED
from tests.support import requests
from tests.support.database import ONE_NODE, blocked_backends
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.proxy import proxied
from tests.support.refusals import refused
from tests.support.until import until

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def key(value: str) -> tuple[tuple[str, str], ...]:
    return (("idempotency-key", value),)


def create_lead(client: Client, customer: str, metadata: Any, **fields: Any) -> tuple[Any, bool]:
    """Return the answer to a create, and whether it is marked as a replay."""
    request = requests.lead_event(customer, **{**requests.EVERY_OPTIONAL_FIELD, **fields})
    answer, call = client.leads.CreateLeadAnalyticsEvent.with_call(request, metadata=metadata, timeout=10)
    return answer, ("idempotency-replayed", "true") in [tuple(item) for item in call.initial_metadata()]


def count_stored(client: Client, customer: str) -> int:
    return int(client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=5).meta.row_count)


def test_an_event_that_is_retried_gets_its_first_answer_and_is_stored_once(client: Client, customer: str) -> None:
    first, replayed = create_lead(client, customer, key("k"))
    assert not replayed
    time.sleep(0.01)
    for _ in range(3):
        assert create_lead(client, customer, key("k")) == (first, True)
    assert count_stored(client, customer) == 1


def test_a_key_holds_on_another_server(server: RunningServer, database_url: str, customer: str) -> None:
    first, _ = create_lead(server.client, customer, key("k"))
    with running_server(database_url) as another:
        assert create_lead(another.client, customer, key("k")) == (first, True)


@pytest.mark.parametrize(
    "change",
    [
        {"message": "another"},
        {"lead_id": "another"},
        {"apex_local_time": ""},
        {"version_info": {}},
        {"version_info": {**requests.EVERY_OPTIONAL_FIELD["version_info"], "build": 8}},  # type: ignore[dict-item] # its values are of several types
        {"version_info": None},
    ],
)
def test_another_event_under_the_same_key_is_refused(client: Client, customer: str, change: dict[str, Any]) -> None:
    create_lead(client, customer, key("k"))
    with refused(INVALID) as refusal:
        create_lead(client, customer, key("k"), **change)
    assert refusal.violations == {"idempotency-key": KEY_REUSED.description}
    assert count_stored(client, customer) == 1


def test_a_key_belongs_to_its_customer_alone(client: Client, customer: str) -> None:
    create_lead(client, customer, key("k"))
    assert create_lead(client, "another " + customer, key("k"))[1] is False


def test_equal_events_without_a_key_are_all_stored(client: Client, customer: str) -> None:
    for _ in range(3):
        assert create_lead(client, customer, ())[1] is False
    assert count_stored(client, customer) == 3


def test_the_same_key_many_times_at_once_stores_one_event(
    database_url: str, server: RunningServer, customer: str
) -> None:
    with running_server(database_url) as another, ThreadPoolExecutor(32) as pool:
        clients = [server.client, another.client]
        calls = [pool.submit(create_lead, clients[n % 2], customer, key(f"k{n // 2 % 20}")) for n in range(400)]
        answers = [call.result() for call in calls]
    assert len({answer.partition_key for answer, _ in answers}) == 20
    assert sum(not replayed for _, replayed in answers) == 20
    assert count_stored(server.client, customer) == 20


def test_a_key_that_is_too_long_is_refused_along_with_other_fields(client: Client, customer: str) -> None:
    with refused(INVALID) as refusal:
        create_lead(client, customer, key("k" * 256), user_id="")
    assert set(refusal.violations) == {"user_id", "idempotency-key"}


def test_the_longest_key_of_the_longest_customer_is_stored(client: Client) -> None:
    customer, longest = "\U0001f600" * 255, "\U0001f600" * 255
    request = requests.analytics_event(customer, idempotency_key=longest, message=str(time.time_ns()))
    first = client.events.CreateAnalyticsEvent(request, timeout=5)
    assert client.events.CreateAnalyticsEvent(request, timeout=5) == first


def test_a_key_may_be_a_field_or_metadata_or_both_when_equal(client: Client, customer: str) -> None:
    plain = requests.analytics_event(customer)
    within = requests.analytics_event(customer, idempotency_key="k")
    first = client.events.CreateAnalyticsEvent(within, timeout=5)
    assert client.events.CreateAnalyticsEvent(plain, metadata=key("k"), timeout=5) == first
    assert client.events.CreateAnalyticsEvent(within, metadata=key("k"), timeout=5) == first
    with refused(INVALID) as refusal:
        client.events.CreateAnalyticsEvent(within, metadata=key("other"), timeout=5)
    assert set(refusal.violations) == {"idempotency_key"}


def test_a_reused_key_is_named_by_where_it_was_sent(client: Client, customer: str) -> None:
    client.events.CreateAnalyticsEvent(requests.analytics_event(customer), metadata=key("k"), timeout=5)
    for fields, metadata in (({}, key("k")), ({"idempotency_key": "k"}, ())):
        with refused(INVALID) as refusal:
            request = requests.analytics_event(customer, message="another", **fields)
            client.events.CreateAnalyticsEvent(request, metadata=metadata, timeout=5)
        assert refusal.violations == {"idempotency-key" if metadata else "idempotency_key": KEY_REUSED.description}


def test_a_key_stored_by_one_rpc_is_answered_by_another_in_its_own_form(client: Client, customer: str) -> None:
    first = client.events.CreateAnalyticsEvent(requests.analytics_event(customer, idempotency_key="k"), timeout=5)
    again = client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), metadata=key("k"), timeout=5)
    assert again.partition_key.partition("|")[2] == first.partition_key.partition("|")[2]


def test_a_batch_has_a_key_for_each_event(client: Client, customer: str) -> None:
    def event(number: int, name: str, **fields: Any) -> Any:
        return requests.analytics_event(customer, event_id=str(number), idempotency_key=name, **fields)

    batch = BatchCreateAnalyticsEventsRequest(events=[event(1, "a"), event(2, "b"), event(3, ""), event(1, "a")])
    first = client.events.BatchCreateAnalyticsEvents(batch, timeout=5)
    assert [outcome.stored.replayed for outcome in first.outcomes] == [False, False, False, True]
    assert first.outcomes[3].stored.id == first.outcomes[0].stored.id
    changed = BatchCreateAnalyticsEventsRequest(events=[event(2, "b"), event(9, "a"), event(4, "c")])
    second = client.events.BatchCreateAnalyticsEvents(changed, timeout=5)
    assert second.outcomes[0].stored.id == first.outcomes[1].stored.id
    assert [(each.field, each.description) for each in second.outcomes[1].refused.violations] == [KEY_REUSED]
    assert (second.stored_count, second.refused_count) == (2, 1)
    assert count_stored(client, customer) == 4


def test_a_chunk_that_is_retried_is_stored_once(client: Client, customer: str) -> None:
    events = [requests.analytics_event(customer, idempotency_key=f"k{number}") for number in range(50)]
    chunk = WriteAnalyticsEventsRequest(events=events)
    first, again = client.events.WriteAnalyticsEvents(iter([chunk, chunk]), timeout=10)
    ids = [outcome.stored.id for outcome in first.committed.outcomes]
    assert [outcome.stored.id for outcome in again.committed.outcomes] == ids
    assert count_stored(client, customer) == 50


@ONE_NODE
def test_a_key_that_another_worker_is_writing_is_waited_for(client: Client, customer: str, database_url: str) -> None:
    # An open transaction stands for a worker that hangs in the middle of its commit.
    template, _ = create_lead(client, "template " + customer, ())
    identifier = template.partition_key.partition("|")[2]
    columns = (
        "entity_type, entity_id, user_id, recording_id, event_type, tool_signature, event_id, message,"
        " javascript_local_time, apex_local_time, event_environment_path, name_parser_event_id,"
        " recommendation_model_event_id, version_info, search_key, created_at, updated_at"
    )

    def insert(cursor: Any, name: str) -> None:
        cursor.execute(
            f"INSERT INTO analytics_event (customer_id, id, idempotency_key, {columns})"
            f" SELECT %s, gen_random_uuid(), %s, {columns} FROM analytics_event WHERE id = %s",
            (customer, name, identifier),
        )

    with (
        contextlib.closing(psycopg2.connect(database_url)) as connection,
        connection.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        insert(cursor, "short")
        waiting = pool.submit(create_lead, client, customer, key("short"))
        until(lambda: blocked_backends(database_url))
        assert not waiting.done()
        connection.commit()
        _, replayed = waiting.result()
        assert replayed
        insert(cursor, "long")
        with refused(grpc.StatusCode.ABORTED) as refusal:
            create_lead(client, customer, key("long"))
        assert refusal.retry_seconds > 0
        # The other events of the batch are unaffected.
        assert create_lead(client, customer, key("free"))[1] is False
        connection.rollback()
    assert create_lead(client, customer, key("long"))[1] is False


def test_a_keyed_create_whose_commit_went_unanswered_is_stored_once(database_url: str, customer: str) -> None:
    sent = 0
    with proxied(database_url) as proxy, running_server(proxy.url) as server:
        proxy.cut_reply_to(b"INSERT 0 1\0")
        # The first creates may still be written by COPY.
        while not proxy.cuts:
            sent += 1
            assert sent < 1_000
            first, replayed = create_lead(server.client, customer, key(f"k{sent}"))
            assert not replayed
        assert create_lead(server.client, customer, key(f"k{sent}")) == (first, True)
        assert count_stored(server.client, customer) == sent
        assert proxy.cuts == 1


def test_a_keyed_batch_whose_commit_went_unanswered_is_stored_once(database_url: str, customer: str) -> None:
    events = [requests.analytics_event(customer, idempotency_key=f"k{number}") for number in range(3)]
    batch = BatchCreateAnalyticsEventsRequest(events=events)
    with proxied(database_url) as proxy, running_server(proxy.url) as server:
        # The server retries on a new connection only if an old one breaks, so it must have one.
        others = [requests.analytics_event("another " + customer)] * 2
        server.client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=others), timeout=10)
        proxy.cut_reply_to(b"COPY 3\0")
        first = server.client.events.BatchCreateAnalyticsEvents(batch, timeout=10)
        assert proxy.cuts == 1
        assert [outcome.stored.replayed for outcome in first.outcomes] == [False] * 3
        again = server.client.events.BatchCreateAnalyticsEvents(batch, timeout=10)
        assert [outcome.stored.replayed for outcome in again.outcomes] == [True] * 3
        assert [each.stored.id for each in again.outcomes] == [each.stored.id for each in first.outcomes]
        assert count_stored(server.client, customer) == 3
