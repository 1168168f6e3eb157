"""Idempotency keys: an event is stored once, however often it is sent, and its first answer is given again."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psycopg2
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest, WriteAnalyticsEventsRequest
from server.ingest.batch import KEY_REUSED
from storage import DatabaseUnavailable
from storage.copier import Copier
from tests.support import requests
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def key(value: str) -> tuple[tuple[str, str], ...]:
    return (("idempotency-key", value),)


def create(client: Client, customer: str, metadata: Any, **fields: Any) -> tuple[Any, bool]:
    """The answer of a create, and whether it says that it is not the first."""
    request = requests.lead_event(customer, **{**requests.EVERY_OPTIONAL_FIELD, **fields})
    answer, call = client.leads.CreateLeadAnalyticsEvent.with_call(request, metadata=metadata, timeout=10)
    return answer, ("idempotency-replayed", "true") in [tuple(item) for item in call.initial_metadata()]


def rows(client: Client, customer: str) -> int:
    return int(client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=5).meta.row_count)


def test_an_event_that_is_sent_again_gets_its_first_answer_and_is_stored_once(client: Client, customer: str) -> None:
    first, replayed = create(client, customer, key("k"))
    assert not replayed
    time.sleep(0.01)
    for _ in range(3):
        assert create(client, customer, key("k")) == (first, True)
    assert rows(client, customer) == 1


def test_a_key_holds_after_a_restart_and_on_another_server(
    server: RunningServer, database_url: str, customer: str
) -> None:
    first, _ = create(server.client, customer, key("k"))
    with running_server(database_url) as another:
        assert create(another.client, customer, key("k")) == (first, True)


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
    create(client, customer, key("k"))
    with refused(INVALID) as refusal:
        create(client, customer, key("k"), **change)
    assert refusal.violations == {"idempotency-key": KEY_REUSED}
    assert rows(client, customer) == 1


def test_a_key_belongs_to_its_customer_alone(client: Client, customer: str) -> None:
    create(client, customer, key("k"))
    assert create(client, "another " + customer, key("k"))[1] is False


def test_events_without_a_key_have_nothing_in_common(client: Client, customer: str) -> None:
    for _ in range(3):
        assert create(client, customer, ())[1] is False
    assert rows(client, customer) == 3


def test_the_same_key_many_times_at_once_stores_one_event(
    database_url: str, server: RunningServer, customer: str
) -> None:
    with running_server(database_url) as another, ThreadPoolExecutor(32) as pool:
        clients = [server.client, another.client]
        calls = [pool.submit(create, clients[n % 2], customer, key(f"k{n // 2 % 20}")) for n in range(400)]
        answers = [call.result() for call in calls]
    assert len({answer.partition_key for answer, _ in answers}) == 20
    assert sum(not replayed for _, replayed in answers) == 20
    assert rows(server.client, customer) == 20


def test_a_key_that_is_too_long_is_refused_with_all_else(client: Client, customer: str) -> None:
    with refused(INVALID) as refusal:
        create(client, customer, key("k" * 256), user_id="")
    assert set(refusal.violations) == {"user_id", "idempotency-key"}


def test_the_longest_key_of_the_longest_customer_is_kept(client: Client) -> None:
    customer, longest = "\U0001f600" * 255, "\U0001f600" * 255
    request = requests.analytics_event(customer, idempotency_key=longest, message=str(time.time_ns()))
    first = client.events.CreateAnalyticsEvent(request, timeout=5)
    assert client.events.CreateAnalyticsEvent(request, timeout=5) == first


def test_a_key_may_be_in_the_request_or_beside_it_or_both_when_equal(client: Client, customer: str) -> None:
    plain = requests.analytics_event(customer)
    within = requests.analytics_event(customer, idempotency_key="k")
    first = client.events.CreateAnalyticsEvent(within, timeout=5)
    assert client.events.CreateAnalyticsEvent(plain, metadata=key("k"), timeout=5) == first
    assert client.events.CreateAnalyticsEvent(within, metadata=key("k"), timeout=5) == first
    with refused(INVALID) as refusal:
        client.events.CreateAnalyticsEvent(within, metadata=key("other"), timeout=5)
    assert set(refusal.violations) == {"idempotency_key"}


def test_a_key_that_is_anothers_is_named_as_it_was_sent(client: Client, customer: str) -> None:
    client.events.CreateAnalyticsEvent(requests.analytics_event(customer), metadata=key("k"), timeout=5)
    for fields, metadata in (({}, key("k")), ({"idempotency_key": "k"}, ())):
        with refused(INVALID) as refusal:
            request = requests.analytics_event(customer, message="another", **fields)
            client.events.CreateAnalyticsEvent(request, metadata=metadata, timeout=5)
        assert refusal.violations == {"idempotency-key" if metadata else "idempotency_key": KEY_REUSED}


def test_an_event_that_came_by_another_call_is_answered_as_this_call_answers(client: Client, customer: str) -> None:
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
    assert [(each.field, each.description) for each in second.outcomes[1].refused.violations] == [
        ("idempotency_key", KEY_REUSED)
    ]
    assert (second.stored_count, second.refused_count) == (2, 1)
    assert rows(client, customer) == 4


def test_a_chunk_that_is_sent_again_is_stored_once(client: Client, customer: str) -> None:
    events = [requests.analytics_event(customer, idempotency_key=f"k{number}") for number in range(50)]
    chunk = WriteAnalyticsEventsRequest(events=events)
    first, again = client.events.WriteAnalyticsEvents(iter([chunk, chunk]), timeout=10)
    ids = [outcome.stored.id for outcome in first.committed.outcomes]
    assert [outcome.stored.id for outcome in again.committed.outcomes] == ids
    assert rows(client, customer) == 50


def test_a_key_that_is_being_written_elsewhere_is_waited_for(client: Client, customer: str, database_url: str) -> None:
    """A worker that stands still in the middle of a commit is played by a transaction that is left open."""
    template, _ = create(client, "template " + customer, ())
    identifier = template.partition_key.partition("|")[2]
    columns = (
        "entity_type, entity_id, user_id, recording_id, event_type, tool_signature, event_id, message,"
        " javascript_local_time, apex_local_time, event_environment_path, name_parser_event_id,"
        " recommendation_model_event_id, version_info, search_key, created_at, updated_at"
    )

    def written(cursor: Any, name: str) -> None:
        cursor.execute(
            f"INSERT INTO analytics_event (customer_id, id, idempotency_key, {columns})"
            f" SELECT %s, gen_random_uuid(), %s, {columns} FROM analytics_event WHERE id = %s",
            (customer, name, identifier),
        )

    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        written(cursor, "short")
        threading.Timer(0.5, connection.commit).start()
        start = time.monotonic()
        _, replayed = create(client, customer, key("short"))
        assert replayed
        assert time.monotonic() - start >= 0.4
        written(cursor, "long")
        with refused(grpc.StatusCode.ABORTED) as refusal:
            create(client, customer, key("long"))
        assert refusal.retry_seconds > 0
        # The others of the batch do not suffer.
        assert create(client, customer, key("free"))[1] is False
        connection.rollback()
    assert create(client, customer, key("long"))[1] is False


def test_a_lost_answer_to_a_keyed_commit_is_found_again(
    server: RunningServer, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_once = Copier._copy_once
    cuts = iter([True])

    def commit_and_break(self: Copier, connection: Any, rows: list[Any]) -> None:
        copy_once(self, connection, rows)
        if rows[0].event.customer_id == customer and next(cuts, False):
            raise DatabaseUnavailable

    monkeypatch.setattr(Copier, "_copy_once", commit_and_break)
    first, replayed = create(server.client, customer, key("k"))
    assert not replayed
    assert create(server.client, customer, key("k")) == (first, True)
    assert rows(server.client, customer) == 1
