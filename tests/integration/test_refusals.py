"""The refusals of a customer by gRPC: what is kept of which call, for how long, and how much of a flood."""

import time
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    CreateAnalyticsEventRequest,
    EraseAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from data_analytics.v1.refusal_pb2 import ListRefusalsRequest
from storage import Refusals
from tests.support.database import query
from tests.support.in_process import Client
from tests.support.refusals import refused
from tests.support.refused import (
    bad,
    count_rows,
    list_refusals,
    make_refusals,
    refuse,
    say_why,
    use_refusals,
    wait_for_refusals,
)
from tests.support.requests import analytics_event, contact_event, lead_event

INVALID = grpc.StatusCode.INVALID_ARGUMENT
CONNECTION = "analytics refusals"
REQUIRED = [("recording_id", "value is required")]


def batch_of(*events: CreateAnalyticsEventRequest) -> BatchCreateAnalyticsEventsRequest:
    return BatchCreateAnalyticsEventsRequest(events=events)


def test_a_refused_create_is_listed_with_its_field_and_its_rule(client: Client, customer: str) -> None:
    calls: list[tuple[str, Callable[..., Any], Any]] = [
        ("CreateAnalyticsEvent", client.events.CreateAnalyticsEvent, bad(customer, tool_signature="vfp")),
        ("CreateLeadAnalyticsEvent", client.leads.CreateLeadAnalyticsEvent, lead_event(customer, recording_id="")),
        (
            "CreateContactAnalyticsEvent",
            client.contacts.CreateContactAnalyticsEvent,
            contact_event(customer, recording_id=""),
        ),
    ]
    for _, call, event in calls:
        with refused(INVALID):
            call(event, timeout=5, metadata=(("x-request-id", "id-1"),))
    found = wait_for_refusals(client, customer, 3)
    assert [refusal.rpc for refusal in found] == [name for name, _, _ in calls][::-1]
    assert [refusal.tool_signature for refusal in found] == ["", "", "vfp"]
    for refusal in found:
        assert (refusal.door, refusal.code, refusal.request_id) == ("grpc", "INVALID_ARGUMENT", "id-1")
        assert (say_why(refusal), refusal.omitted, refusal.HasField("replayed_event_id")) == (REQUIRED, 0, False)
        assert refusal.created_at[:-1].count(".") == 1
        assert refusal.created_at.endswith("Z")


def test_what_is_wrong_in_any_other_way_is_listed_too(client: Client, customer: str) -> None:
    create = client.events.CreateAnalyticsEvent
    key = "key"
    create(analytics_event(customer, idempotency_key=key), timeout=5)
    for event, metadata in (
        (analytics_event(customer, idempotency_key=key, message="other"), ()),
        (analytics_event(customer, message="other"), (("idempotency-key", key),)),
        (analytics_event(customer), (("idempotency-key", "k" * 256),)),
    ):
        with refused(INVALID):
            create(event, timeout=5, metadata=metadata)
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        create(analytics_event(customer, message="m" * (1 << 20)), timeout=5)
    path = "/data_analytics.v1.AnalyticsEventService/CreateAnalyticsEvent"
    call: Any = client.channel.unary_unary(path)
    with refused(INVALID):
        call(analytics_event(customer).SerializeToString() + b"\xff", timeout=5)
    found = wait_for_refusals(client, customer, 5)
    assert [say_why(refusal)[0][0] for refusal in found] == [
        "",
        "",
        "idempotency-key",
        "idempotency-key",
        "idempotency_key",
    ]
    assert [refusal.code for refusal in found[:2]] == ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"]


def test_the_key_of_an_erased_event_is_listed(client: Client, customer: str) -> None:
    event = analytics_event(customer, idempotency_key="key")
    client.events.CreateAnalyticsEvent(event, timeout=5)
    client.events.EraseAnalyticsEvents(EraseAnalyticsEventsRequest(customer_id=customer, all_events=True), timeout=10)
    with refused(INVALID):
        client.events.CreateAnalyticsEvent(event, timeout=5)
    client.events.BatchCreateAnalyticsEvents(batch_of(event, bad(customer)), timeout=5)
    found = [say_why(refusal) for refusal in wait_for_refusals(client, customer, 3)]
    for ((field, rule),) in found[1:]:
        assert (field, "erased" in rule) == ("idempotency_key", True)


def test_each_refused_event_of_a_batch_or_chunk_is_listed(client: Client, customer: str) -> None:
    other = f"{customer} other"
    events = [analytics_event(customer), bad(customer), bad(other, tool_signature="t"), bad("")]
    assert client.events.BatchCreateAnalyticsEvents(batch_of(*events), timeout=5).refused_count == 3
    (answer,) = client.events.WriteAnalyticsEvents(iter([WriteAnalyticsEventsRequest(events=events)]), timeout=5)
    assert answer.committed.refused_count == 3
    rpcs = ["WriteAnalyticsEvents", "BatchCreateAnalyticsEvents"]
    for of, tool in ((customer, ""), (other, "t")):
        found = wait_for_refusals(client, of, 2)
        assert [(refusal.rpc, refusal.tool_signature, say_why(refusal)) for refusal in found] == [
            (rpc, tool, REQUIRED) for rpc in rpcs
        ]


def test_a_batch_or_chunk_that_is_refused_as_a_whole_is_listed_once(client: Client, customer: str) -> None:
    too_many = [analytics_event(customer)] * 1_001
    with refused(INVALID):
        client.events.BatchCreateAnalyticsEvents(batch_of(*too_many), timeout=10)
    with refused(INVALID):
        metadata = (("idempotency-key", "key"),)
        client.events.BatchCreateAnalyticsEvents(batch_of(analytics_event(customer)), timeout=5, metadata=metadata)
    with pytest.raises(grpc.RpcError):
        list(client.events.WriteAnalyticsEvents(iter([WriteAnalyticsEventsRequest(events=too_many)]), timeout=10))
    found = wait_for_refusals(client, customer, 3)
    assert [say_why(refusal)[0][0] for refusal in found] == ["events", "idempotency-key", "events"]


def test_replays_are_listed_only_if_they_are_asked_for(client: Client, customer: str) -> None:
    event = analytics_event(customer, idempotency_key="key", tool_signature="vfp")
    stored = [client.events.CreateAnalyticsEvent(event, timeout=5) for _ in range(2)]
    client.events.BatchCreateAnalyticsEvents(batch_of(event, analytics_event(customer)), timeout=5)
    refuse(client, customer)
    found = wait_for_refusals(client, customer, 3, include_replays=True)
    assert [refusal.code for refusal in found] == ["INVALID_ARGUMENT", "OK", "OK"]
    for replay in found[1:]:
        assert replay.replayed_event_id == stored[0].partition_key.partition("|")[2]
        assert (replay.tool_signature, say_why(replay)) == ("vfp", [])
    assert list_refusals(client, customer) == found[:1]


def test_an_event_that_is_stored_leaves_nothing(client: Client, customer: str, database_url: str) -> None:
    client.events.CreateAnalyticsEvent(analytics_event(customer), timeout=5)
    client.events.BatchCreateAnalyticsEvents(batch_of(*[analytics_event(customer)] * 3), timeout=5)
    refuse(client, customer)
    wait_for_refusals(client, customer, 1, include_replays=True)
    assert count_rows(database_url, customer) == 1


@pytest.mark.parametrize("of", ["", "c" * 256, "c\0"])
def test_what_names_no_customer_is_not_kept(client: Client, database_url: str, customer: str, of: str) -> None:
    ((before,),) = query(database_url, "SELECT count(*) FROM refusal")
    refuse(client, of)
    refuse(client, customer)
    wait_for_refusals(client, customer)
    assert query(database_url, "SELECT count(*) FROM refusal") == [(before + 1,)]


def test_a_text_that_cannot_be_stored_or_is_too_long_is_left_out(client: Client, customer: str) -> None:
    for tool, request_id in (("t\0", "i" * 65), ("ü" * 300, "i" * 64)):
        with refused(INVALID):
            event = analytics_event(customer, tool_signature=tool)
            client.events.CreateAnalyticsEvent(event, timeout=5, metadata=(("x-request-id", request_id),))
    found = wait_for_refusals(client, customer, 2)
    assert [(refusal.tool_signature, refusal.request_id) for refusal in found] == [("ü" * 255, "i" * 64), ("", "")]


def test_pages_have_each_refusal_once_while_others_come(client: Client, customer: str, database_url: str) -> None:
    kept = make_refusals(25)

    async def keep(refusals: Refusals) -> None:
        await refusals.keep(customer, kept)

    use_refusals(database_url, keep)
    found, token = [], ""
    while True:
        request = ListRefusalsRequest(customer_id=customer, page_size=10, page_token=token)
        page = client.events.ListRefusals(request, timeout=5)
        found += [refusal.id for refusal in page.refusals]
        use_refusals(database_url, keep_one_more(customer))
        if not (token := page.next_page_token):
            break
    assert found == [refusal.id for refusal in reversed(kept)]
    for changed in (
        ListRefusalsRequest(customer_id=customer, include_replays=True),
        ListRefusalsRequest(customer_id="c"),
    ):
        changed.page_token = request.page_token
        with refused(INVALID) as refusal:
            client.events.ListRefusals(changed, timeout=5)
        assert list(refusal.violations) == ["page_token"]


def keep_one_more(customer: str) -> Callable[[Refusals], Coroutine[Any, Any, None]]:
    async def keep(refusals: Refusals) -> None:
        await refusals.keep(customer, make_refusals(1))

    return keep


def test_only_refusals_since_a_time_are_listed(client: Client, customer: str, database_url: str) -> None:
    now = int(time.time() * 1000)

    async def keep(refusals: Refusals) -> None:
        await refusals.keep(customer, make_refusals(3, now - 60_000))

    use_refusals(database_url, keep)
    first, second, _ = (refusal.created_at for refusal in reversed(list_refusals(client, customer)))
    assert [refusal.created_at for refusal in list_refusals(client, customer, since=second)][-1] == second
    assert len(list_refusals(client, customer, since=first)) == 3
    with refused(INVALID) as refusal:
        list_refusals(client, customer, since="now")
    assert list(refusal.violations) == ["since"]
