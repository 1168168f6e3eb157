"""Erasures by gRPC: what goes, what stays, what does not come back, and what the receipt says."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import psycopg2
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    EraseAnalyticsEventsRequest,
    Erasure,
    GetErasureRequest,
)
from storage.erasure import FIND_DUE
from tests.support.database import as_server, execute, query
from tests.support.in_process import Client, running_server
from tests.support.refusals import refused
from tests.support.requests import analytics_event, lead_search
from tests.support.until import until
from tests.support.writing import read_messages


def erase(client: Client, customer: str, **what: Any) -> Erasure:
    """Erase events of a customer, and return the receipt once that is done."""
    begun = client.events.EraseAnalyticsEvents(EraseAnalyticsEventsRequest(customer_id=customer, **what), timeout=10)
    request = GetErasureRequest(customer_id=customer, id=begun.id)
    until(lambda: client.events.GetErasure(request, timeout=5).finished_at)
    return client.events.GetErasure(request, timeout=5)


def create(client: Client, customer: str, message: str, **fields: Any) -> str:
    """Create an event and return its id."""
    request = analytics_event(customer, message=message, **fields)
    answer = client.events.CreateAnalyticsEvent(request, timeout=5)
    return str(answer.partition_key.partition("|")[2])


def test_all_events_of_a_customer_go_and_no_others(client: Client, database_url: str, customer: str) -> None:
    other = f"{customer} "
    ids = [create(client, customer, str(number)) for number in range(3)]
    create(client, other, "stays")
    receipt = erase(client, customer, all_events=True)
    assert (receipt.erased_count, receipt.last_id, receipt.all_events) == (3, ids[-1], True)
    assert (receipt.customer_id, receipt.requested_by) == (customer, "anyone")
    assert receipt.created_at <= receipt.finished_at
    assert read_messages(database_url, customer) == []
    assert read_messages(database_url, other) == ["stays"]


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({"user_id": "a"}, ["2", "3"]),
        ({"user_id": "A"}, ["0", "1", "2", "3"]),
        ({"entity_type": "lead", "entity_id": "x"}, ["1", "3"]),
        ({"entity_type": "contact", "entity_id": "x"}, ["0", "1", "2"]),
        ({"older_than_days": 1}, ["0", "1", "2", "3"]),
        # Before 1970, where no id is.
        ({"older_than_days": 36_500}, ["0", "1", "2", "3"]),
        ({"created_before": "1970-01-01T00:00:00Z"}, ["0", "1", "2", "3"]),
        ({"created_before": "1969-12-31T23:59:59.999Z"}, ["0", "1", "2", "3"]),
        ({"created_before": "0001-01-01T00:00:00Z"}, ["0", "1", "2", "3"]),
    ],
)
def test_what_the_filter_names_goes_and_the_rest_stays(
    client: Client, database_url: str, customer: str, what: dict[str, Any], left: list[str]
) -> None:
    create(client, customer, "0", user_id="a", entity_id="x")
    create(client, customer, "1", user_id="a", entity_id="y")
    create(client, customer, "2", user_id="b", entity_id="x")
    create(client, customer, "3", user_id="b", entity_id="x", entity_type="contact")
    receipt = erase(client, customer, **what)
    assert read_messages(database_url, customer) == left
    assert receipt.erased_count == 4 - len(left)
    assert receipt.user_id == what.get("user_id", "")
    assert (receipt.entity_type, receipt.entity_id) == (what.get("entity_type", ""), what.get("entity_id", ""))


def test_a_time_divides_what_goes_from_what_stays(client: Client, database_url: str, customer: str) -> None:
    create(client, customer, "before")
    answer = client.events.CreateAnalyticsEvent(analytics_event(customer, message="at"), timeout=5)
    # In another time zone, the same instant.
    at = datetime.fromisoformat(answer.created_at).astimezone(tz=None).isoformat()
    until(lambda: datetime.now(UTC) - datetime.fromisoformat(answer.created_at) > timedelta(milliseconds=2))
    receipt = erase(client, customer, created_before=at)
    assert receipt.created_before == answer.created_at
    assert "at" in read_messages(database_url, customer)
    assert receipt.erased_count == 1 or query(
        database_url, "SELECT count(DISTINCT created_at) FROM analytics_event WHERE customer_id = %s", customer
    ) == [(1,)]


@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize("in_metadata", [False, True])
def test_the_key_of_an_erased_event_is_refused(
    client: Client, database_url: str, customer: str, is_batch: bool, in_metadata: bool
) -> None:
    event = analytics_event(customer, message="erased", idempotency_key="key 'ü\t1")
    client.events.CreateAnalyticsEvent(event, timeout=5)
    erase(client, customer, all_events=True)
    if is_batch:
        other = analytics_event(customer, message="other", idempotency_key="key 2")
        batch = BatchCreateAnalyticsEventsRequest(events=[event, other, event, analytics_event(customer)])
        answer = client.events.BatchCreateAnalyticsEvents(batch, timeout=5)
        assert (answer.stored_count, answer.refused_count) == (2, 2)
        (violation,) = answer.outcomes[2].refused.violations
        assert (violation.field, "erased" in violation.description) == ("idempotency_key", True)
        assert read_messages(database_url, customer) == ["other", ""]
        return
    metadata: tuple[tuple[str, str], ...] = ()
    if in_metadata:
        event = analytics_event(customer, message="erased", idempotency_key="plain")
        client.events.CreateAnalyticsEvent(event, timeout=5)
        erase(client, customer, all_events=True)
        event.ClearField("idempotency_key")
        metadata = (("idempotency-key", "plain"),)
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.CreateAnalyticsEvent(event, timeout=5, metadata=metadata)
    ((field, description),) = refusal.violations.items()
    assert field == ("idempotency-key" if in_metadata else "idempotency_key")
    assert "erased" in description
    assert read_messages(database_url, customer) == []
    # It is the key of this customer alone.
    event.customer_id += " "
    client.events.CreateAnalyticsEvent(event, timeout=5, metadata=metadata)


def test_the_keys_of_erased_events_are_kept_as_hashes_alone(client: Client, database_url: str, customer: str) -> None:
    create(client, customer, "secret message", idempotency_key="secret key", user_id="secret user")
    erase(client, customer, all_events=True)
    tables = ("erasure", "erased_key", "blocked_user", "analytics_event")
    for table in tables:
        for (row,) in query(database_url, f"SELECT t::text FROM {table} t WHERE customer_id = %s", customer):
            assert "secret" not in row
    assert query(database_url, "SELECT count(*) FROM erased_key WHERE customer_id = %s", customer) == [(1,)]


def test_a_create_that_waits_for_the_erasure_of_its_key_is_refused(own_database_url: str, customer: str) -> None:
    with running_server(own_database_url) as server:
        event = analytics_event(customer, idempotency_key="key")
        server.client.events.CreateAnalyticsEvent(event, timeout=5)
        with psycopg2.connect(own_database_url) as connection, connection.cursor() as cursor:
            receipt = str(uuid.uuid4())
            cursor.execute(
                "SELECT begin_erasure(%s, %s::uuid, true, '', '', '', NULL, false, 'test', NULL)", (customer, receipt)
            )
            cursor.execute("SELECT erase_step(%s, %s::uuid, 'test', 10)", (customer, receipt))
            waiting = server.client.events.CreateAnalyticsEvent.future(event, timeout=10)
            until(lambda: query(own_database_url, "SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid'"))
            connection.commit()
            with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
                waiting.result()
        assert "erased" in refusal.violations["idempotency_key"]
        assert read_messages(own_database_url, customer) == []


def test_the_events_of_a_blocked_user_are_refused(client: Client, database_url: str, customer: str) -> None:
    create(client, customer, "goes", user_id="blocked")
    receipt = erase(client, customer, user_id="blocked", block_later=True)
    assert (receipt.erased_count, receipt.block_later) == (1, True)
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        create(client, customer, "no", user_id="blocked")
    assert list(refusal.violations) == ["user_id"]
    events = [analytics_event(customer, message=user, user_id=user) for user in ("blocked", "Blocked", "blocked")]
    batch = BatchCreateAnalyticsEventsRequest(events=[*events, analytics_event(f"{customer} ", user_id="blocked")])
    answer = client.events.BatchCreateAnalyticsEvents(batch, timeout=5)
    kinds = [outcome.WhichOneof("outcome") for outcome in answer.outcomes]
    assert kinds == ["refused", "stored", "refused", "stored"]
    assert read_messages(database_url, customer) == ["Blocked"]


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ({}, [""]),
        ({"user_id": "", "entity_id": ""}, [""]),
        ({"all_events": False}, [""]),
        ({"all_events": True, "user_id": "a"}, [""]),
        ({"entity_id": "a"}, ["entity_type"]),
        ({"entity_type": "lead"}, ["entity_type", ""]),
        ({"entity_type": "Lead", "entity_id": "a"}, ["entity_type"]),
        ({"older_than_days": 0}, ["older_than_days"]),
        ({"older_than_days": 36_501}, ["older_than_days"]),
        ({"created_before": "yesterday"}, ["created_before"]),
        ({"created_before": "2026-02-30T00:00:00Z"}, ["created_before"]),
        ({"created_before": "2026-01-01T00:00:00"}, ["created_before"]),
        ({"created_before": "0001-01-01T00:00:00+14:00"}, ["created_before"]),
        ({"created_before": "9999-01-01T00:00:00Z"}, ["created_before"]),
        ({"all_events": True, "block_later": True}, ["block_later"]),
        ({"user_id": "a" * 256}, ["user_id"]),
        ({"user_id": "a\0"}, ["user_id"]),
        ({"all_events": True, "customer_id": ""}, ["customer_id"]),
    ],
)
def test_an_erasure_that_is_not_clear_erases_nothing(
    client: Client, database_url: str, customer: str, what: dict[str, Any], fields: list[str]
) -> None:
    create(client, customer, "stays", user_id="a")
    request = EraseAnalyticsEventsRequest(**{"customer_id": customer, **what})
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.EraseAnalyticsEvents(request, timeout=5)
    assert list(refusal.violations) == fields
    assert read_messages(database_url, customer) == ["stays"]


def test_a_receipt_is_shown_to_who_names_its_customer(client: Client, customer: str) -> None:
    receipt = erase(client, customer, all_events=True)
    assert (receipt.erased_count, receipt.last_id) == (0, "")
    for request in (
        GetErasureRequest(customer_id=f"{customer} ", id=receipt.id),
        GetErasureRequest(customer_id=customer, id=str(uuid.uuid4())),
    ):
        with refused(grpc.StatusCode.NOT_FOUND):
            client.events.GetErasure(request, timeout=5)
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.GetErasure(GetErasureRequest(customer_id=customer, id="1"), timeout=5)
    assert list(refusal.violations) == ["id"]


def test_searches_count_what_is_there_while_events_are_erased(client: Client, database_url: str, customer: str) -> None:
    for start in range(0, 12_000, 1_000):
        events = [analytics_event(customer, message=str(start + number)) for number in range(1_000)]
        client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=events), timeout=30)
    erasing = client.events.EraseAnalyticsEvents.future(
        EraseAnalyticsEventsRequest(customer_id=customer, all_events=True), timeout=30
    )
    counts: set[int] = set()
    while not erasing.done() or not counts:
        for page in (1, 3, 12):
            found = client.leads.SearchLeadAnalyticsEvents(lead_search(customer, page=page, page_size=1_000), timeout=5)
            counts.add(found.meta.row_count)
            # The newest go last, so a page is full as long as there are so many.
            assert len(found.recordings) == min(max(found.meta.row_count - (page - 1) * 1_000, 0), 1_000)
    until(lambda: read_messages(database_url, customer) == [])
    assert counts <= set(range(0, 12_001, 2_000))


@pytest.mark.parametrize(
    "before", ["-infinity", "4713-01-01 BC", "0001-01-01", "1969-12-31T23:59:59.999Z", "1970-01-01"]
)
def test_no_id_is_before_a_time_that_is_before_all_ids(
    client: Client, database_url: str, customer: str, before: str
) -> None:
    create(client, customer, "stays")
    for up_to in ("NULL", f"'{'f' * 32}'"):
        until_id = begin(database_url, customer, f"'{before}'", up_to)
        assert until_id == "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("before", ["NULL", "now()"])
def test_no_erasure_goes_beyond_the_newest_event_nor_its_bound(
    client: Client, database_url: str, customer: str, before: str
) -> None:
    newest = create(client, customer, "newest")
    execute(database_url, "SELECT pg_sleep(0.002)")
    assert begin(database_url, customer, before) == newest
    assert begin(database_url, customer, before, f"'{'f' * 32}'") == newest
    assert begin(database_url, customer, before, f"'{'0' * 31}1'") == f"{'0' * 8}-0000-0000-0000-{'0' * 11}1"


def begin(url: str, customer: str, before: str, up_to: str = "NULL") -> str:
    """Begin an erasure that no server works on, and return the last id that it may erase."""
    receipt = uuid.uuid4()
    everything = before == "NULL"
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT begin_erasure(%s, '{receipt}', {everything}, '', '', '', {before}, false, 'test', {up_to})",
            [customer],
        )
        cursor.execute(
            "SELECT until_id::text FROM erasure WHERE customer_id = %s AND id = %s", [customer, str(receipt)]
        )
        ((until_id,),) = cursor.fetchall()
        connection.rollback()
    return str(until_id)


def test_events_that_are_created_while_others_are_erased_stay(client: Client, database_url: str, customer: str) -> None:
    for number in range(3):
        create(client, customer, f"old {number}")
    step = f"SELECT erased, finished FROM erase_step(%s, '{uuid.uuid4()}', 'test', 2)"
    role = as_server(database_url)
    with psycopg2.connect(role) as connection, connection.cursor() as cursor:
        receipt = step.split("'")[1]
        cursor.execute(
            f"SELECT begin_erasure(%s, '{receipt}', true, '', '', '', NULL, false, 'test', NULL)", [customer]
        )
        cursor.execute(step, [customer])
        assert cursor.fetchall() == [(2, False)]
    create(client, customer, "new")
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer, message="new")] * 2)
    assert client.events.BatchCreateAnalyticsEvents(batch, timeout=5).stored_count == 2
    assert query(role, step, customer) == [(1, True)]
    assert read_messages(database_url, customer) == ["new"] * 3


def test_an_erasure_that_runs_under_load_erases_nothing_acknowledged_later(
    client: Client, database_url: str, customer: str
) -> None:
    for _ in range(12):
        events = [analytics_event(customer, message="old")] * 1_000
        client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=events), timeout=30)
    request = EraseAnalyticsEventsRequest(customer_id=customer, all_events=True)
    erasing = client.events.EraseAnalyticsEvents.future(request, timeout=30)
    until(lambda: query(database_url, "SELECT FROM erasure WHERE customer_id = %s", customer))
    stored = 0
    while not erasing.done() or not stored:
        create(client, customer, "new")
        stored += 1
    receipt = GetErasureRequest(customer_id=customer, id=erasing.result().id)
    until(lambda: client.events.GetErasure(receipt, timeout=5).finished_at)
    assert client.events.GetErasure(receipt, timeout=5).erased_count == 12_000
    assert read_messages(database_url, customer) == ["new"] * stored


def test_what_is_on_its_way_while_a_user_is_blocked_is_erased(client: Client, database_url: str, customer: str) -> None:
    receipt = "01a2090f-a62c-7406-bf6e-18ff40af2c25"
    # No server knows of the block until it is committed.
    with psycopg2.connect(as_server(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT begin_erasure(%s, '{receipt}', false, 'u', '', '', NULL, true, 'test', NULL)", [customer]
        )
        create(client, customer, "late", user_id="u")
    request = GetErasureRequest(customer_id=customer, id=receipt)
    until(lambda: client.events.GetErasure(request, timeout=5).finished_at)
    assert client.events.GetErasure(request, timeout=5).erased_count == 1
    assert read_messages(database_url, customer) == []


def test_an_erasure_of_another_customer_does_not_wait_for_a_hundred(own_database_url: str) -> None:
    role = as_server(own_database_url)
    for customer, count in (("acme", 100), ("globex", 1)):
        execute(
            role,
            f"SELECT begin_erasure('{customer}', gen_random_uuid(), true, '', '', '', NULL, false, 'test', NULL)"
            f" FROM generate_series(1, {count})",
        )
    due = query(role, FIND_DUE, "a worker")
    assert [customer for customer, _ in due] == ["acme", "globex"]
    # A server that works on one of them takes a step for each in turn.
    seen = set()
    for _ in range(100):
        ((_, receipt), _) = query(role, FIND_DUE, "a worker")
        seen.add(receipt)
        execute(
            own_database_url, f"UPDATE erasure SET leased_by = 'a worker', leased_until = now() WHERE id = '{receipt}'"
        )
    assert len(seen) == 100


def test_a_customer_may_have_a_hundred_erasures_that_are_not_finished(own_database_url: str) -> None:
    begin_one = "SELECT begin_erasure('acme', gen_random_uuid(), true, '', '', '', NULL, false, '%s', %s)"
    execute(as_server(own_database_url), begin_one % ("test", "NULL") + " FROM generate_series(1, 100)")
    execute(own_database_url, "UPDATE erasure SET leased_until = now() + interval '1 hour'")
    with running_server(own_database_url) as server:
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            erase(server.client, "acme", all_events=True)
        assert refusal.retry_seconds == 1
        assert erase(server.client, "globex", all_events=True).finished_at
        assert query(own_database_url, "SELECT count(*) FROM erasure WHERE customer_id = 'acme'") == [(100,)]
        # Retention, and what is erased again after a restore, are not refused.
        for arguments in (("retention", "NULL"), ("test", f"'{'0' * 32}'")):
            execute(as_server(own_database_url), begin_one % arguments)
        execute(own_database_url, "UPDATE erasure SET leased_until = now()")
        until(lambda: query(own_database_url, "SELECT FROM erasure WHERE finished_at IS NULL") == [])
        assert erase(server.client, "acme", all_events=True).finished_at


def test_only_the_servers_role_may_call_what_erases(database_url: str) -> None:
    execute(database_url, "CREATE ROLE stranger")
    for call in (
        "begin_erasure('a', gen_random_uuid(), true, '', '', '', NULL, false, '', NULL)",
        "erase_step('a', gen_random_uuid(), '', 1)",
        "forget_erased_keys('a', gen_random_uuid(), 1)",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            execute(database_url, f"SET ROLE stranger; SELECT {call}")
    execute(database_url, "DROP ROLE stranger")


def test_a_function_refuses_what_no_filter_names(database_url: str) -> None:
    role = as_server(database_url)
    for arguments in ("false, '', '', ''", "true, 'user', '', ''", "false, '', '', 'entity'"):
        with pytest.raises(psycopg2.errors.CheckViolation):
            execute(role, f"SELECT begin_erasure('c', gen_random_uuid(), {arguments}, NULL, false, 'test', NULL)")
    with pytest.raises(psycopg2.DataError, match="future"):
        execute(
            role,
            "SELECT begin_erasure('c', gen_random_uuid(), false, '', '', '', now() + interval '1 h', false, '', NULL)",
        )
