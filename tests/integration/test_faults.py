"""A database that becomes unavailable and available again under a running server."""

import asyncio
import contextlib
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psycopg2
import pytest

from server.event_loop import make_event_loop
from storage import DatabaseUnavailable, EventStore, Query, SearchTimedOut
from storage.async_connection import AsyncConnection
from storage.availability import Availability
from storage.schema import migrate
from storage.search import Searches
from tests.chaos.faults import small_disk
from tests.support import requests
from tests.support.database import (
    ONE_NODE,
    blocked_backends,
    execute,
    locked_table,
    refusing_connections,
    terminate_backends,
)
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.postgres import running_postgres
from tests.support.refusals import refused
from tests.support.until import until


class Database:
    """A PostgreSQL of one test's own, which can be stopped and started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = contextlib.ExitStack()
        self.url = ""

    def start(self) -> None:
        self.url = self._running.enter_context(running_postgres(self._directory))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path)
    database.start()
    migrate(database.url)
    yield database
    database.stop()


def create(client: Client, message: str = "") -> str:
    answer = client.leads.CreateLeadAnalyticsEvent(requests.lead_event("faults", message=message), timeout=5)
    return answer.partition_key.partition("|")[2]


def test_an_outage_is_answered_within_a_second_and_ends_by_itself(database: Database) -> None:
    with running_server(database.url) as server:
        client = server.client
        create(client)
        assert client.is_serving()
        database.stop()

        for call in (
            lambda: create(client),
            lambda: client.leads.SearchLeadAnalyticsEvents(requests.lead_search("faults"), timeout=5),
        ):
            start = time.monotonic()
            with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
                call()
            assert time.monotonic() - start < 1
            assert refusal.retry_seconds == 1
            assert refusal.trailers["retry-after"] == "1"
        until(lambda: not client.is_serving(), 2)

        database.start()
        until(client.is_serving, 5)
        create(client)
        found = client.leads.SearchLeadAnalyticsEvents(requests.lead_search("faults"), timeout=5)
        assert 2 <= found.meta.row_count < 52


def test_a_restart_under_load_loses_no_acknowledged_event_and_doubles_none(database: Database) -> None:
    acknowledged: list[str] = []
    refusals: list[grpc.StatusCode] = []
    stop = threading.Event()

    def load(client: Client) -> None:
        while not stop.is_set():
            try:
                acknowledged.append(create(client))
            except grpc.RpcError as error:
                refusals.append(error.code())
                time.sleep(0.02)

    with running_server(database.url) as server:
        threads = [threading.Thread(target=load, args=(server.client,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        database.stop()
        before = len(acknowledged)
        time.sleep(0.3)
        database.start()
        until(lambda: len(acknowledged) > before + 200, 10)
        stop.set()
        for thread in threads:
            thread.join()

    with contextlib.closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM analytics_event")
        stored = [event_id for (event_id,) in cursor.fetchall()]
    assert before > 50
    assert set(refusals) == {grpc.StatusCode.UNAVAILABLE}
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)


@pytest.mark.usefixtures("locked_table")
def test_a_call_ends_at_its_deadline(client: Client, customer: str) -> None:
    for call in (
        lambda: client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=0.3),
        lambda: client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=0.3),
    ):
        start = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - start < 1


@pytest.mark.usefixtures("locked_table")
def test_a_search_that_takes_too_long_is_given_up(database_url: str, customer: str) -> None:
    async def find() -> None:
        searches = Searches(database_url, timeout=0.2)
        try:
            await searches.find(Query(customer, "lead", "entity", "user", ["recording"], False, 1, 10))
        finally:
            await searches.close()

    with pytest.raises(SearchTimedOut), asyncio.Runner(loop_factory=make_event_loop) as runner:
        runner.run(find())


def test_a_store_that_closes_leaves_no_search_waiting(database_url: str, customer: str) -> None:
    async def close() -> None:
        store = EventStore(database_url)
        query = Query(customer, "lead", "entity", "user", ["recording"], False, 1, 10)
        assert (await store.find(query)).total == 0
        waiting = [asyncio.create_task(store.find(query)) for _ in range(20)]
        await asyncio.sleep(0)
        await store.close()
        outcomes = await asyncio.gather(*waiting, store.find(query), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}

    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        runner.run(close())


@ONE_NODE
def test_of_several_hosts_a_silent_one_is_skipped(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = re.search(r"host=([^&]+)&port=(\d+)", database_url).groups()  # type: ignore[union-attr] # it is there
        url = f"postgresql://postgres@/analytics?host=127.0.0.1,{host}&port={silent.getsockname()[1]},{port}"

        async def ask() -> None:
            connection = await AsyncConnection.open(url, "hosts", {})
            assert await connection.execute("SELECT 1") == [(1,)]
            connection.close()

        with asyncio.Runner(loop_factory=make_event_loop) as runner:
            runner.run(ask())


def test_callers_that_have_gone_leave_nothing_behind(server: RunningServer, customer: str, database_url: str) -> None:
    client, commits = server.client, server.application.commits
    with locked_table(database_url):
        first = client.leads.CreateLeadAnalyticsEvent.future(requests.lead_event(customer), timeout=20)
        until(lambda: blocked_backends(database_url))
        # Enough for a second commit, behind which everything waits.
        others = [
            client.leads.CreateLeadAnalyticsEvent.future(requests.lead_event(customer), timeout=20) for _ in range(30)
        ]
        for _ in range(3):
            assert client.is_serving()  # On the same connection, so the server has read the others by now.
        calls = [
            client.leads.CreateLeadAnalyticsEvent.future(requests.lead_event(customer, message=str(number)))
            for number in range(50)
        ]
        until(lambda: commits.waiting_callers >= 50)
        for call in calls:
            call.cancel()
        for _ in range(3):
            assert client.is_serving()  # On the same connection, so the server reads it after the cancellations.
    # The lock is gone with its transaction. What no commit had taken is not stored.
    assert first.result().customer_id == customer
    assert {call.code() for call in others} == {grpc.StatusCode.OK}
    assert client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5).customer_id == customer
    assert commits.waiting_callers == 0
    found = client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer, page_size=100), timeout=5)
    assert 32 <= found.meta.row_count < 82


def test_a_search_in_flight_fails_when_the_database_becomes_unavailable(
    server: RunningServer, customer: str, database_url: str
) -> None:
    with locked_table(database_url), refusing_connections(database_url):
        start = time.monotonic()
        with refused(grpc.StatusCode.UNAVAILABLE):
            # Its own limit is 5 s, and its connection is still good, unless it has yet to be opened.
            server.client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=20)
        assert time.monotonic() - start < 4
    until(server.client.is_serving, 10)


def test_a_refusal_in_an_unknown_encoding_counts_as_unavailable() -> None:
    refusals = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        stop = threading.Event()

        def refuse() -> None:
            nonlocal refusals
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection:
                        start = connection.recv(1024)
                        if start[4:8] == b"\x04\xd2\x16\x2f" or start[4:8] == b"\x04\xd2\x16\x30":  # TLS or GSSAPI? No.
                            connection.sendall(b"N")
                            connection.recv(1024)
                        text = b"SFATAL\0C57P03\0Marr\xeat\0\0"
                        connection.sendall(b"E" + (len(text) + 4).to_bytes(4, "big") + text)
                        refusals += 1

        thread = threading.Thread(target=refuse)
        thread.start()

        async def watch() -> bool:
            availability = Availability(f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/x", interval=0.05)
            task = asyncio.create_task(availability.watch())
            await asyncio.sleep(1)
            task.cancel()
            return availability.up

        try:
            assert asyncio.run(watch()) is False
        finally:
            stop.set()
            thread.join()
    assert refusals >= 2


@pytest.mark.parametrize(
    ("fault", "end", "reason"),
    [
        (
            "REVOKE INSERT ON analytics_event FROM analytics_server",
            "GRANT INSERT ON analytics_event TO analytics_server",
            "the role may not insert events, or their table is missing",
        ),
        (
            "ALTER ROLE analytics_server SET default_transaction_read_only = on",
            "ALTER ROLE analytics_server RESET default_transaction_read_only",
            "it is read-only",
        ),
    ],
    ids=["privilege", "read-only"],
)
def test_a_database_that_takes_no_events_is_not_healthy(
    database: Database, caplog: pytest.LogCaptureFixture, fault: str, end: str, reason: str
) -> None:
    with running_server(database.url) as server:
        create(server.client)
        execute(database.url, fault)
        for name in ("analytics availability", "analytics inserter", "analytics writer"):  # Sessions keep a default.
            terminate_backends(database.url, name)
        until(lambda: not server.client.is_serving())
        with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
            create(server.client)
        assert refusal.error.details() == "the database is unavailable"
        execute(database.url, end)
        terminate_backends(database.url, "analytics availability")
        until(server.client.is_serving)
        for name in ("analytics inserter", "analytics writer"):
            terminate_backends(database.url, name)
        create(server.client)
    reasons = [getattr(each, "reason", "") for each in caplog.records if each.getMessage() == "database unavailable"]
    assert reason in reasons


def test_a_full_disk_is_not_healthy_until_there_is_space(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", 400) as mounted:
        if not mounted:
            pytest.skip("only root can mount a disk in memory")
        (tmp_path / "disk" / "data").mkdir()
        with running_postgres(tmp_path / "disk" / "data") as url:
            migrate(url)
            with running_server(url) as server:
                filler = tmp_path / "disk" / "filler"
                with contextlib.suppress(OSError), filler.open("wb") as file:
                    while True:
                        file.write(bytes(1 << 20))
                until(lambda: fails(server.client))
                until(lambda: not server.client.is_serving())
                time.sleep(2)  # It has looked again.
                assert not server.client.is_serving()
                filler.unlink()
                until(server.client.is_serving)
                create(server.client)
    reasons = {getattr(each, "reason", "") for each in caplog.records if each.getMessage() == "database unavailable"}
    assert reasons == {"its disk is full"}


def fails(client: Client) -> bool:
    """Return whether a create is refused, for which the table has to grow."""
    try:
        create(client, secrets.token_hex(10_000))
    except grpc.RpcError as error:
        return error.code() == grpc.StatusCode.UNAVAILABLE
    return False


def test_an_unexpected_error_is_internal_and_tells_the_caller_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database_url, "CREATE DATABASE broken")
    url = database_url.replace("/analytics?", "/broken?")
    migrate(url)
    with running_server(url) as server:
        execute(url, "ALTER TABLE analytics_event RENAME COLUMN message TO elsewhere")
        for call in (
            lambda: create(server.client, "a secret"),
            lambda: server.client.leads.SearchLeadAnalyticsEvents(requests.lead_search("faults"), timeout=5),
        ):
            with refused(grpc.StatusCode.INTERNAL) as refusal:
                call()
            assert refusal.error.details() == "internal error"
            assert not refusal.status.details
        assert server.client.is_serving()
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["a batch could not be written", "unexpected error"]
