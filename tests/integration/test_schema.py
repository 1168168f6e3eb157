"""The migrations: they make what the model describes, once."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from peewee import PostgresqlDatabase

from storage.model import AnalyticsEvent
from storage.schema import find_pending, migrate
from tests.support.database import execute

MIGRATIONS = ["0001_analytics_event", "0002_idempotency_key", "0003_access_key", "0004_erasure", "0005_list_index"]


@pytest.fixture
def fresh_url(database_url: str) -> Iterator[str]:
    """Yield the URL of a database without a schema."""
    execute(database_url, "CREATE DATABASE fresh")
    yield database_url.replace("/analytics?", "/fresh?")
    execute(database_url, "DROP DATABASE fresh")


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
