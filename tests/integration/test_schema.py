"""The migrations: they make what the model describes, once."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from peewee import PostgresqlDatabase

from storage.errors import UnfitDatabase
from storage.model import AnalyticsEvent
from storage.privileges import SERVER_ROLE
from storage.schema import find_pending, migrate
from tests.support.database import execute, query
from tests.support.in_process import running_server
from tests.support.processes import run_module
from tests.support.requests import lead_event

MIGRATIONS = [
    "0001_analytics_event",
    "0002_idempotency_key",
    "0003_access_key",
    "0004_erasure",
    "0005_list_index",
    "0006_refusal",
    "0007_summary_day",
    "0008_erased_key_by_hash",
    "0009_list_segment",
]


@pytest.fixture
def fresh_url(database_url: str) -> Iterator[str]:
    """Yield the URL of a database without a schema."""
    execute(database_url, "CREATE DATABASE fresh")
    yield database_url.replace("/analytics?", "/fresh?")
    execute(database_url, "DROP DATABASE fresh WITH (FORCE)")


def describe(database: Any) -> list[tuple[str, ...]]:
    """Return the columns and indexes of the events table."""
    columns = database.execute_sql(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_name = 'analytics_event' ORDER BY ordinal_position"
    ).fetchall()
    indexes = database.execute_sql(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'analytics_event' ORDER BY indexname"
    ).fetchall()
    return [*columns, *indexes]


def test_the_migrations_make_what_the_model_describes(fresh_url: str) -> None:
    migrate(fresh_url)
    database: Any = PostgresqlDatabase(fresh_url)
    with database:
        migrated = describe(database)
        database.execute_sql("DROP TABLE analytics_event")
        with AnalyticsEvent.bind_ctx(database):
            AnalyticsEvent.create_table()
        assert migrated == describe(database)
    assert len(migrated) == len(AnalyticsEvent._meta.sorted_fields) + 4


def test_every_index_begins_with_the_customer(fresh_url: str) -> None:
    migrate(fresh_url)
    database: Any = PostgresqlDatabase(fresh_url)
    with database:
        definitions = [row[1] for row in describe(database) if len(row) == 2]
    assert definitions
    assert all(definition.partition("(")[2].startswith(("customer_id,", "customer_id ")) for definition in definitions)


def test_migrating_many_times_at_once_applies_each_migration_once(fresh_url: str) -> None:
    assert find_pending(fresh_url) == MIGRATIONS
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(fresh_url))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], [], [], MIGRATIONS]
    assert find_pending(fresh_url) == []


def test_a_node_to_which_a_table_has_not_come_yet_is_not_used(fresh_url: str) -> None:
    migrate(fresh_url)
    execute(fresh_url, "DROP TABLE list_segment")
    with pytest.raises(UnfitDatabase, match=r"lacks the table list_segment: .*run `python -m storage\.distribute`"):
        find_pending(fresh_url)


def test_a_migration_that_waits_for_a_reader_holds_up_no_writer(fresh_url: str, customer: str) -> None:
    migrate(fresh_url)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    thread = threading.Thread(target=migrate, args=(fresh_url, SERVER_ROLE, lines.put))
    dump = psycopg2.connect(fresh_url, application_name="a dump")
    with running_server(fresh_url) as server:
        execute(fresh_url, "DELETE FROM schema_migration WHERE name = '0005_list_index'")
        # What a dump holds, and would keep this from ALTER TABLE.
        with dump.cursor() as cursor:
            cursor.execute("LOCK TABLE analytics_event IN SHARE UPDATE EXCLUSIVE MODE")
        thread.start()
        assert "a dump" in lines.get(timeout=30)
        for _ in range(10):
            server.client.leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=3)
        dump.rollback()
        thread.join(30)
        assert not thread.is_alive()
    dump.close()
    assert query(fresh_url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def test_a_dry_run_says_what_is_pending_and_changes_nothing(fresh_url: str) -> None:
    ended = run_module("storage.migrate", "--dry-run", DATABASE_URL=fresh_url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "0002_idempotency_key: The idempotency key of an event" in ended.stdout
    assert "the table has about 0 events" in ended.stdout
    assert query(fresh_url, "SELECT to_regclass('analytics_event')") == [(None,)]
    migrate(fresh_url)
    assert run_module("storage.migrate", "--dry-run", DATABASE_URL=fresh_url).stdout == "nothing to migrate\n"
