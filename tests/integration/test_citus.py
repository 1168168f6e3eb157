"""The service on a real Citus cluster, if CITUS_URL names one: an empty database called analytics on its coordinator.

The other tests of this tier then run on the cluster too, but for those that need a PostgreSQL of their own. The cluster
has to trust the roles postgres and analytics_server, and to have been prepared as docs/citus.md says.
"""

import asyncio
import os
import random
from collections.abc import Iterator

import psycopg2.extensions
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from storage import list_segments
from storage.distribute import main
from storage.list_segments import ListSegments
from storage.migrate import main as migrate_main
from storage.privileges import FUNCTIONS
from storage.tables import DISTRIBUTED, LOCAL, REFERENCE
from tests.support import requests, summaries
from tests.support.database import execute, query
from tests.support.events import insert, uncommitted
from tests.support.in_process import RunningServer, running_server
from tests.support.reading import run_with
from tests.support.searching import search
from tests.support.until import until

pytestmark = pytest.mark.skipif(not os.environ.get("CITUS_URL"), reason="needs a Citus cluster, named by CITUS_URL")

CUSTOMERS = 20


@pytest.fixture(scope="module")
def node_url(database_url: str) -> str:
    """Return the URL of the database on a node that is not the coordinator."""
    ((host, port),) = query(database_url, "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 LIMIT 1")
    url: str = psycopg2.extensions.make_dsn(database_url, host=host, port=port)
    return url


@pytest.fixture
def in_another_time_zone(database_url: str) -> Iterator[None]:
    """Let the new sessions of all nodes be in another time zone, until the test ends."""
    nodes = query(database_url, "SELECT nodename, nodeport FROM pg_dist_node")
    urls = [psycopg2.extensions.make_dsn(database_url, host=host, port=port) for host, port in nodes]
    for url in urls:
        execute(url, "SET citus.enable_ddl_propagation = off; ALTER DATABASE analytics SET timezone = 'Asia/Kolkata'")
    yield
    for url in urls:
        execute(url, "SET citus.enable_ddl_propagation = off; ALTER DATABASE analytics RESET timezone")


def make_batch(customer: str, message: str = "") -> BatchCreateAnalyticsEventsRequest:
    """Return a batch of an event of each of many customers, with one key for all."""
    return BatchCreateAnalyticsEventsRequest(
        events=[
            requests.analytics_event(f"{customer} {number}", message=message, idempotency_key="key")
            for number in range(CUSTOMERS)
        ]
    )


def test_the_tables_are_where_they_belong(database_url: str) -> None:
    types = dict(query(database_url, "SELECT table_name::text, citus_table_type FROM citus_tables"))
    kinds = {"distributed": DISTRIBUTED, "reference": REFERENCE, "local": LOCAL}
    assert types == {table: kind for kind, tables in kinds.items() for table in tables}


def test_to_distribute_again_changes_nothing_and_says_so(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shards", "4"], {"DATABASE_URL": database_url}) == 0
    said, *shares = capsys.readouterr().err.splitlines()
    assert said == "nothing to distribute"
    assert shares
    assert all("shards" in share for share in shares)


def test_only_the_coordinator_distributes(node_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {"DATABASE_URL": node_url}) == 2
    assert "this is not the coordinator" in capsys.readouterr().err


def test_a_node_that_may_lose_events_is_named(
    database_url: str, node_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alter = "SET citus.enable_ddl_propagation = off; ALTER DATABASE analytics"
    execute(node_url, f"{alter} SET synchronous_commit = off")
    try:
        assert main([], {"DATABASE_URL": database_url}) == 2
        assert "synchronous_commit is off on the node" in capsys.readouterr().err
    finally:
        execute(node_url, f"{alter} RESET synchronous_commit")


def test_no_node_lets_everybody_erase_events(node_url: str) -> None:
    sql = "SELECT count(*) FROM unnest(%s) AS name WHERE has_function_privilege('public', name, 'EXECUTE')"
    assert query(node_url, sql, list(FUNCTIONS)) == [(0,)]


def test_a_server_works_on_any_node(node_url: str, customer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate_main([], {"DATABASE_URL": node_url}) == 0
    assert capsys.readouterr().err == "nothing to migrate\n"
    with running_server(node_url) as server:
        answer = server.client.events.BatchCreateAnalyticsEvents(make_batch(customer), timeout=10)
        assert answer.stored_count == CUSTOMERS
        assert search(server.client, f"{customer} 1").meta.row_count == 1


def test_a_batch_of_many_customers_is_replayed(server: RunningServer, customer: str) -> None:
    first = server.client.events.BatchCreateAnalyticsEvents(make_batch(customer), timeout=10)
    again = server.client.events.BatchCreateAnalyticsEvents(make_batch(customer), timeout=10)
    assert [each.stored.id for each in again.outcomes] == [each.stored.id for each in first.outcomes]
    assert all(each.stored.replayed for each in again.outcomes)
    another = server.client.events.BatchCreateAnalyticsEvents(make_batch(customer, "another"), timeout=10)
    assert another.refused_count == CUSTOMERS


@pytest.mark.usefixtures("in_another_time_zone")
def test_times_are_in_utc_whatever_the_nodes_are_in(database_url: str, customer: str) -> None:
    with running_server(database_url) as server:
        request = requests.lead_event(customer, idempotency_key="key")
        first = server.client.leads.CreateLeadAnalyticsEvent(request, timeout=10)
        assert server.client.leads.CreateLeadAnalyticsEvent(request, timeout=10) == first
        (found,) = search(server.client, customer).recordings
        assert (found.created_at, found.updated_at) == (first.created_at, first.updated_at)


@pytest.mark.parametrize("is_here", [True, False])
def test_a_segment_has_what_was_being_written_on_any_node(
    database_url: str, node_url: str, customer: str, monkeypatch: pytest.MonkeyPatch, is_here: bool
) -> None:
    monkeypatch.setattr(list_segments, "MIN_EVENTS", 2)
    here, there = (database_url, node_url) if is_here else (node_url, database_url)
    at = summaries.START
    stored, late = (summaries.make_event(customer, at + number, random.Random(number)) for number in range(2))
    insert(database_url, stored)
    sql = "SELECT events FROM list_segment WHERE customer_id = %s"

    async def work(segments: ListSegments) -> None:
        with uncommitted(there, late) as connection:
            segments.ask(customer)
            await asyncio.to_thread(until, lambda: query(database_url, sql, customer))
            await asyncio.sleep(0.5)
            assert query(database_url, sql, customer) == [(None,)]
            connection.commit()
        await segments.settle()
        assert query(database_url, sql, customer) == [(2,)]

    run_with(lambda: ListSegments(here), work)


def test_servers_of_several_nodes_keep_a_customer_together(
    database_url: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_segments, "MIN_EVENTS", 100)
    stored = [summaries.make_event(customer, summaries.START + number, random.Random(number)) for number in range(500)]
    insert(database_url, *stored)
    nodes = query(database_url, "SELECT nodename, nodeport FROM pg_dist_node")

    async def make(url: str) -> None:
        segments = ListSegments(url)
        segments.ask(customer)
        await segments.settle()
        await segments.close()

    async def work() -> None:
        urls = [psycopg2.extensions.make_dsn(database_url, host=host, port=port) for host, port in nodes]
        await asyncio.gather(*map(make, urls))

    asyncio.run(work())
    assert query(database_url, "SELECT events FROM list_segment WHERE customer_id = %s", customer) == [(500,)]
