"""A primary whose commits wait for a standby: what is acknowledged survives the loss of either."""

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psycopg2.extensions
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    EraseAnalyticsEventsRequest,
)
from server import check
from server.access import __main__ as access
from server.settings import Settings
from storage import Erasure, Erasures, EventStore, ExportQuery, erase, migrate
from storage.availability import Availability
from storage.ids import FIRST, LAST
from tests.support.database import as_server, backends, query
from tests.support.in_process import RunningServer, running_server
from tests.support.prometheus import Samples, ask_socket, parse, total
from tests.support.refusals import refused
from tests.support.requests import analytics_event, lead_event
from tests.support.searching import search
from tests.support.standby import Pair, running_pair
from tests.support.until import until

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
END_WAITS = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
WORDS = "commits wait for a synchronous standby"
IDS = "SELECT id::text FROM analytics_event WHERE customer_id = %s"


@pytest.fixture(scope="module")
def running(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Yield a primary and a standby, both running."""
    with running_pair(tmp_path_factory.mktemp("pair"), database_url) as pair:
        yield pair


@pytest.fixture
def pair(running: Pair) -> Pair:
    """Return the same, with commits that wait for the standby."""
    running.primary.wait_for_standbys(running.standby.name)
    return running


def create(server: RunningServer, customer: str, timeout: float = 10) -> str:
    """Store an event with a key, and return its id."""
    request = lead_event(customer, idempotency_key="key")
    answer = server.client.leads.CreateLeadAnalyticsEvent(request, timeout=timeout)
    return answer.partition_key.partition("|")[2]


def is_acknowledged(server: RunningServer, customer: str) -> bool:
    """Return whether the server says within a moment that the event is stored."""
    try:
        return bool(create(server, customer, timeout=0.5))
    except grpc.RpcError:
        return False


def scrape(path: Path) -> Samples:
    """Return the metrics that the worker shows on a socket."""
    return parse(ask_socket(path, b"GET /metrics HTTP/1.1\r\n\r\n")[1])


def look(pair: Pair) -> list[check.Finding]:
    """Return what `python -m server check` finds."""
    return list(check.find(Settings(pair.server_url, "127.0.0.1", 0, logging.INFO), []))


def test_a_replay_waits_for_the_standby_as_the_first_answer_does(pair: Pair, customer: str) -> None:
    with running_server(pair.server_url) as server:
        pair.standby.kill()
        assert not is_acknowledged(server, customer)
        until(lambda: query(pair.primary.url, WAITING) != [(0,)])
        pair.primary.kill()  # The event is on its disk alone, and after its recovery everybody sees it.
        pair.primary.start()
        ((event_id,),) = query(pair.primary.url, IDS, customer)
        until(server.client.is_serving)
        for _ in range(2):
            assert not is_acknowledged(server, customer)
        pair.standby.start(pair.primary)
        until(lambda: is_acknowledged(server, customer))
        assert create(server, customer) == event_id
        assert query(pair.standby.url, IDS, customer) == [(event_id,)]


def test_while_commits_wait_events_are_refused_and_searches_go_on(
    pair: Pair, customer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run" / "w.prom"
    replica = as_server(pair.standby.url)
    with running_server(pair.server_url, envoy_socket=path.with_suffix(".sock"), read_database_url=replica) as server:
        create(server, customer)
        until(lambda: total(scrape(path), "analytics_read_replica_age_seconds") < 5)
        assert search(server.client, customer).meta.row_count == 1
        assert backends(pair.standby.url, "analytics search")
        pair.standby.kill()
        try:
            with refused(grpc.StatusCode.UNAVAILABLE) as refusal:  # As soon as that is known.
                create(server, f"{customer} later")
            assert refusal.error.details() == WORDS
            with refused(grpc.StatusCode.UNAVAILABLE):
                server.client.events.EraseAnalyticsEvents(
                    EraseAnalyticsEventsRequest(customer_id=customer, all_events=True), timeout=5
                )
            assert search(server.client, customer).meta.row_count == 1
            assert server.client.is_serving()
            assert server.client.health.Check(HealthCheckRequest(service="commits")).status == NOT_SERVING
            assert ask_socket(path, b"GET /readyz HTTP/1.1\r\n\r\n") == (503, f"{WORDS}\n")
            names = ("commits_wait_for_standby", "database_up", "read_replica_left_out")
            assert [total(scrape(path), f"analytics_{name}") for name in names] == [1, 1, 1]
            finding = f"{WORDS}, and none of ANY 1 (b) answers: no event is stored"
            assert check.Finding(check.ERROR, finding) in look(pair)
        finally:
            pair.standby.start(pair.primary)
        until(lambda: is_acknowledged(server, f"{customer} later"))
        assert server.client.health.Check(HealthCheckRequest(service="commits")).status == SERVING
    assert f"{WORDS}: events are refused, and searches go on" in [each.getMessage() for each in caplog.records]


def test_a_commit_whose_wait_is_ended_is_not_acknowledged(pair: Pair, customer: str) -> None:
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(f"{customer} of a batch")])
    url = psycopg2.extensions.make_dsn(pair.server_url, target_session_attrs="read-write")
    with running_server(url) as server, ThreadPoolExecutor() as pool:
        pair.standby.kill()
        try:
            calls: list[Future[Any]] = [
                pool.submit(is_acknowledged, server, customer),
                pool.submit(server.client.events.BatchCreateAnalyticsEvents, batch, timeout=10),
            ]
            while not all(call.done() for call in calls):
                query(pair.primary.url, END_WAITS)
                time.sleep(0.02)
        finally:
            pair.standby.start(pair.primary)
        assert calls[0].result() is False
        with refused(grpc.StatusCode.UNAVAILABLE):
            calls[1].result()
        until(lambda: is_acknowledged(server, customer))
        assert len(query(pair.standby.url, IDS, customer)) == 1
        assert search(server.client, customer).meta.row_count == 1


def test_an_export_from_a_replica_that_is_lost_goes_on_at_the_primary(pair: Pair, customer: str) -> None:
    events = [analytics_event(customer, message=str(number)) for number in range(1_100)]

    async def export(server: RunningServer) -> list[str]:
        store = EventStore(pair.server_url, read_url=as_server(pair.standby.url))
        try:
            await store.start()
            await asyncio.to_thread(until, lambda: store.reads.replica is not None and store.reads.replica.is_used)
            running = await store.begin_export(ExportQuery(customer, (), FIRST, LAST))
            first = await running.read()
            pair.primary.wait_for_standbys()
            pair.standby.kill()
            # What the export has not seen must not come up in it, as it does not at a single database.
            await asyncio.to_thread(create, server, customer)
            second = await running.read()
            assert second.is_last
            return [event.message for event in first.events + second.events]
        finally:
            await store.close()

    with running_server(pair.server_url) as server:
        for part in (events[:600], events[600:]):
            server.client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=part), timeout=10)
        assert server.run(export(server)) == [event.message for event in events]
        pair.standby.start(pair.primary)


def test_an_erasure_is_finished_once_no_replica_has_its_events(pair: Pair, customer: str) -> None:
    async def erase() -> list[bool]:
        erasures = Erasures(pair.server_url, Availability(pair.server_url), settle_seconds=0.4)
        await erasures.start()
        receipt = await erasures.begin(Erasure(customer, all_events=True), "test")
        finished: list[bool] = []
        while not finished or not finished[-1]:
            found = await erasures.find(customer, receipt.id)
            if query(pair.primary.url, "SELECT finished_at FROM erasure WHERE id = %s", receipt.id) != [(None,)]:
                finished.append(bool(found and found.finished_at))
        await erasures.close()
        return finished

    with running_server(pair.server_url) as server:
        finished = server.run(erase())
    assert finished[0] is False
    assert finished[-1] is True


def test_everything_goes_on_with_the_standby_that_has_taken_over(pair: Pair, customer: str) -> None:
    with running_server(pair.server_url) as server:
        event_id = create(server, customer)
        pair.fail_over()
        until(lambda: is_acknowledged(server, f"{customer} later"))
        assert create(server, customer) == event_id
        assert search(server.client, customer).meta.row_count == 1
    owner = {"DATABASE_URL": pair.url}
    assert migrate.main([], owner) == erase.main(["receipts"], owner) == access.main(["list"], owner) == 0
    assert check.Finding(check.OK, "the database can be used") in look(pair)
