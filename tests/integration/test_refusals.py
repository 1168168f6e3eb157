"""The refusals of a customer by gRPC: what is kept of which call, for how long, and how much of a flood."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import psycopg2
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    CreateAnalyticsEventRequest,
    EraseAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from data_analytics.v1.refusal_pb2 import ListRefusalsRequest, Refusal
from server.event_loop import make_event_loop
from server.ingest.refusal_log import RefusalLog
from storage import Refusal as KeptRefusal
from storage import Refusals, make_id_and_time
from storage.housekeeping import keep_house
from storage.ids import make_bound
from tests.support.database import as_server, query, refusing_connections, terminate_backends
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused
from tests.support.refused import list_refusals, wait_for_refusals
from tests.support.requests import analytics_event, contact_event, lead_event
from tests.support.until import until

INVALID = grpc.StatusCode.INVALID_ARGUMENT
CONNECTION = "analytics refusals"
REQUIRED = [("recording_id", "value is required")]


def batch_of(*events: CreateAnalyticsEventRequest) -> BatchCreateAnalyticsEventsRequest:
    return BatchCreateAnalyticsEventsRequest(events=events)


def say_why(refusal: Refusal) -> list[tuple[str, str]]:
    return [(violation.field, violation.description) for violation in refusal.violations]


def bad(customer: str, **fields: Any) -> CreateAnalyticsEventRequest:
    """Return an event that is refused."""
    return analytics_event(customer, **{"recording_id": "", **fields})


def refuse(client: Client, customer: str, times: int = 1) -> None:
    """Have events of a customer refused."""
    for _ in range(times):
        with refused(INVALID):
            client.events.CreateAnalyticsEvent(bad(customer), timeout=5)


def make_refusals(count: int, milliseconds: int | None = None) -> list[KeptRefusal]:
    """Return refusals of now, or of another time."""
    ids = [make_id_and_time()[0] if milliseconds is None else make_bound(milliseconds + n) for n in range(count)]
    return [KeptRefusal(each, "Rpc", "json", "INVALID_ARGUMENT", "", "[]", "", "", 0) for each in ids]


def use_refusals(url: str, use: Callable[[Refusals], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        refusals = Refusals(as_server(url))
        try:
            await use(refusals)
        finally:
            refusals.disconnect()

    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        runner.run(run())


def count_rows(url: str, customer: str) -> int:
    ((count,),) = query(url, "SELECT count(*) FROM refusal WHERE customer_id = %s", customer)
    return int(count)


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


def test_the_newest_refusals_of_a_customer_are_kept(customer: str, database_url: str, client: Client) -> None:
    kept = make_refusals(1_100)
    replays = [refusal._replace(replayed_event_id=refusal.id) for refusal in make_refusals(3)]

    async def keep(refusals: Refusals) -> None:
        await refusals.keep(customer, replays)
        await refusals.keep(f"{customer} other", make_refusals(2))
        for start in range(0, len(kept), 50):
            await refusals.keep(customer, kept[start : start + 50])

    use_refusals(database_url, keep)
    assert [refusal.id for refusal in list_refusals(client, customer, page_size=1_000)] == [
        refusal.id for refusal in kept[:-1_001:-1]
    ]
    assert count_rows(database_url, customer) == 1_003
    assert count_rows(database_url, f"{customer} other") == 2


def test_refusals_of_more_than_a_week_are_not_listed_and_go(own_database_url: str, customer: str) -> None:
    week = 7 * 24 * 3_600_000
    now = int(time.time() * 1000)

    async def keep(refusals: Refusals) -> None:
        for of in (customer, f"{customer} other"):
            await refusals.keep(of, make_refusals(2, now - week - 60_000))
            await refusals.keep(of, make_refusals(1, now - week + 60_000))

    use_refusals(own_database_url, keep)
    with running_server(own_database_url) as server:
        assert len(list_refusals(server.client, customer, since="2020-01-01T00:00:00Z")) == 1
        # The server keeps house when it starts.
        until(lambda: query(own_database_url, "SELECT count(*) FROM refusal") == [(2,)])
        assert len(list_refusals(server.client, f"{customer} other")) == 1


def test_what_waits_is_kept_when_the_server_stops(database_url: str, customer: str) -> None:
    with running_server(database_url) as server:
        for number in range(60):
            refuse(server.client, f"{customer} {number}")
    kept = query(
        database_url, "SELECT count(DISTINCT customer_id) FROM refusal WHERE starts_with(customer_id, %s)", customer
    )
    assert kept == [(60,)]


def test_refusals_wait_while_the_database_is_away(own_database_url: str, customer: str) -> None:
    with running_server(own_database_url) as server:
        refuse(server.client, customer)
        wait_for_refusals(server.client, customer)
        with refusing_connections(own_database_url):
            refuse(server.client, customer, 3)
            terminate_backends(own_database_url, CONNECTION)
            until(lambda: not server.client.is_serving())
            with refused(grpc.StatusCode.UNAVAILABLE):
                list_refusals(server.client, customer)
            # A bad event is told that it is bad only where one that is good would be stored.
            with refused(grpc.StatusCode.UNAVAILABLE):
                server.client.events.CreateAnalyticsEvent(bad(customer), timeout=5)
        until(server.client.is_serving)
        assert len(wait_for_refusals(server.client, customer, 4)) == 4


def test_a_flood_of_refusals_is_bounded_and_costs_no_one_else(server: RunningServer, customer: str) -> None:
    other = f"{customer} other"
    client = server.client
    flood = batch_of(*[bad(customer)] * 1_000)
    for number in range(10):
        assert client.events.BatchCreateAnalyticsEvents(flood, timeout=20).refused_count == 1_000
        client.events.CreateAnalyticsEvent(analytics_event(other), timeout=5)
        if number % 3 == 0:
            refuse(client, other)
    found = wait_for_refusals(client, customer, 10_000)
    assert len(found) <= 20 * 11
    assert len(wait_for_refusals(client, other, 4)) == 4


def test_a_flood_of_many_customers_leaves_room_for_one_more(database_url: str, customer: str) -> None:
    made = 0

    def make() -> KeptRefusal:
        nonlocal made
        made += 1
        return make_refusals(1)[0]

    async def flood(refusals: Refusals) -> None:
        log = RefusalLog(refusals)
        for _ in range(1_000):
            for number in range(200):
                log.add(f"{customer} {number}", make)
        log.add(customer, make)
        await log.close()

    use_refusals(database_url, flood)
    assert made <= 2_000
    assert count_rows(database_url, customer) == 1
    kept = query(
        database_url,
        "SELECT count(*), sum(1 + omitted) FROM refusal WHERE starts_with(customer_id, %s) GROUP BY customer_id",
        f"{customer} ",
    )
    assert len(kept) == 200
    assert all(0 < rows < 20 and in_all == 1_000 for rows, in_all in kept)


def test_housekeeping_looks_at_each_customer_once(own_database_url: str, customer: str) -> None:
    customers = [f"{customer} {number}" for number in range(120)]

    async def keep(refusals: Refusals) -> None:
        for of in customers:
            await refusals.keep(of, make_refusals(1, 1_000))
        await refusals.keep(customer, make_refusals(1))

    use_refusals(own_database_url, keep)
    with contextlib.closing(psycopg2.connect(own_database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        async def run(sql: str, values: Any) -> list[Any]:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []

        async def keep_until_done() -> int:
            return len([part async for part in keep_house(run, 0)])

        assert asyncio.run(keep_until_done()) == 1
    assert query(own_database_url, "SELECT customer_id FROM refusal") == [(customer,)]
