"""How many refusals are kept, for how long, and what of a flood."""

import asyncio
import contextlib
import time
from typing import Any

import grpc
import psycopg2

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.ingest.refusal_log import RefusalLog
from storage import Refusal, Refusals
from storage.housekeeping import keep_house
from tests.support.database import query, refusing_connections, terminate_backends
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused
from tests.support.refused import (
    bad,
    count_rows,
    list_refusals,
    make_refusals,
    refuse,
    use_refusals,
    wait_for_refusals,
)
from tests.support.requests import analytics_event
from tests.support.until import until

CONNECTION = "analytics refusals"


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
    flood = BatchCreateAnalyticsEventsRequest(events=[bad(customer)] * 1_000)
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

    def make() -> Refusal:
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
