"""A dump that is made while events come in: what it has, and what a server makes of it when it is restored."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import psycopg2.extensions
import pytest

from data_analytics.v1.watch_pb2 import WatchAnalyticsEventsRequest
from server.stack.pgdata import PROGRAMS, make_environment
from storage.privileges import SERVER_ROLE
from storage.schema import migrate
from tests.support.database import execute, query
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import refused
from tests.support.requests import lead_event

OPEN_TO_ALL = (
    "SELECT proname::text FROM pg_proc WHERE prosecdef AND has_function_privilege('public', oid, 'EXECUTE') ORDER BY 1"
)


def create(server: RunningServer, customer: str, number: int) -> str:
    """Store an event with a key, and return its partition key, which has its id."""
    request = lead_event(customer, message=str(number), idempotency_key=str(number))
    return server.client.leads.CreateLeadAnalyticsEvent(request, timeout=10).partition_key


def run(program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL."""
    subprocess.run([PROGRAMS / program, *arguments], env=make_environment(), check=True, timeout=60)


@pytest.fixture
def restored_url(own_database_url: str) -> Iterator[str]:
    """Yield the URL of an empty database beside `own_database_url`."""
    name = f"{psycopg2.extensions.parse_dsn(own_database_url)['dbname']}_restored"
    execute(own_database_url, f"CREATE DATABASE {name}")
    dsn: str = psycopg2.extensions.make_dsn(own_database_url, dbname=name)
    yield dsn
    execute(own_database_url, f"DROP DATABASE {name} WITH (FORCE)")


def test_a_dump_that_is_made_under_load_is_restored_and_served(
    own_database_url: str, restored_url: str, customer: str, tmp_path: Path
) -> None:
    dump = str(tmp_path / "dump")
    stored: list[str] = []
    is_over = threading.Event()
    with running_server(own_database_url) as server:

        def store() -> None:
            while not is_over.is_set():
                stored.append(create(server, customer, len(stored)))

        watch = server.client.events.WatchAnalyticsEvents(WatchAnalyticsEventsRequest(customer_id=customer), timeout=30)
        token = next(watch).resume_token
        watch.cancel()
        for _ in range(20):
            stored.append(create(server, customer, len(stored)))
        before = len(stored)
        thread = threading.Thread(target=store)
        thread.start()
        try:
            run("pg_dump", "--format=custom", f"--file={dump}", own_database_url)
        finally:
            is_over.set()
            thread.join()
        assert len(stored) > before

    run("pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={restored_url}", dump)
    assert len(query(restored_url, OPEN_TO_ALL)) == 3
    assert migrate(restored_url) == []
    assert query(restored_url, OPEN_TO_ALL) == []

    with running_server(psycopg2.extensions.make_dsn(restored_url, user=SERVER_ROLE)) as server:
        assert [create(server, customer, number) for number in range(before)] == stored[:before]
        with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
            next(
                server.client.events.WatchAnalyticsEvents(
                    WatchAnalyticsEventsRequest(customer_id=customer, resume_token=token), timeout=10
                )
            )
        assert "was restored" in refusal.violations["resume_token"]
