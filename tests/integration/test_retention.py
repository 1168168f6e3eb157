"""RETENTION_DAYS: old events leave by themselves, and so do the hashes of keys that were erased long ago."""

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from server.ingest.group_commit import GroupCommit
from storage import Event, EventStore, KeyErased
from storage.housekeeping import LOCK, keep_house
from tests.support.database import as_server, execute, query
from tests.support.until import until
from tests.support.writing import One, make_event, run_with_commits

_INSERT = """
INSERT INTO analytics_event (
  customer_id, id, created_at, updated_at, entity_type, entity_id, user_id, recording_id, event_type, tool_signature,
  event_id, message, javascript_local_time, apex_local_time, event_environment_path, name_parser_event_id,
  recommendation_model_event_id, search_key, idempotency_key
)
SELECT customer, (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000' || '8000'
    || substr(md5(random()::text), 1, 12))::uuid, at, at,
  'lead', 'l', 'u', 'r', 'view', '', '', days::text, '', '', '', '', '', gen_random_uuid(), key
FROM (
  SELECT customer, days, 'key ' || days AS key, now() - make_interval(hours => days * 24 + 1) AS at
  FROM unnest(ARRAY['acme', 'globex', 'initech']) AS customer, generate_series(0, 40, 10) AS days
) AS events
"""


RECEIPTS = """
SELECT customer_id, erased_count FROM erasure WHERE finished_at IS NOT NULL AND requested_by = 'retention' ORDER BY 1
"""


def run_until(url: str, sql: str, rows: list[Any], retention_days: int = 0) -> None:
    """Run a store, as a server does, until a query returns these rows."""

    async def run() -> None:
        store = EventStore(as_server(url), retention_days)
        await store.start()
        try:
            await asyncio.to_thread(until, lambda: query(url, sql) == rows)
        finally:
            await store.close()

    asyncio.run(run())


def test_old_events_leave_each_customer_and_leave_a_receipt(own_database_url: str) -> None:
    execute(own_database_url, _INSERT)
    execute(own_database_url, "DELETE FROM analytics_event WHERE customer_id = 'initech' AND message > '20'")
    run_until(own_database_url, RECEIPTS, [("acme", 2), ("globex", 2)], 25)
    left = query(
        own_database_url,
        "SELECT customer_id, array_agg(message ORDER BY message) FROM analytics_event GROUP BY 1 ORDER BY 1",
    )
    assert left == [(customer, ["0", "10", "20"]) for customer in ("acme", "globex", "initech")]
    # The next day, the same receipts go on.
    execute(own_database_url, "UPDATE erasure SET created_before = created_before - interval '1 day'")
    execute(own_database_url, _INSERT.replace("40, 10", "39, 13").replace("'key ' || days", "'more ' || days"))
    run_until(own_database_url, RECEIPTS, [("acme", 4), ("globex", 4), ("initech", 2)], 25)
    assert query(own_database_url, "SELECT count(*) FROM analytics_event WHERE message::int > 25") == [(0,)]


def test_one_server_at_a_time_keeps_house(own_database_url: str) -> None:
    execute(own_database_url, _INSERT)
    with (
        contextlib.closing(psycopg2.connect(as_server(own_database_url))) as other,
        contextlib.closing(psycopg2.connect(as_server(own_database_url))) as own,
    ):
        own.autocommit = True
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        keep_house_on(own)
        assert query(own_database_url, "SELECT count(*) FROM erasure") == [(0,)]
        other.close()
        until(lambda: not query(own_database_url, "SELECT FROM pg_locks WHERE locktype = 'advisory'"))
        keep_house_on(own)
        assert query(own_database_url, "SELECT count(*) FROM erasure") == [(3,)]
        assert query(own_database_url, "SELECT FROM pg_locks WHERE locktype = 'advisory'") == []


def test_the_longest_retention_erases_nothing(own_database_url: str) -> None:
    execute(own_database_url, _INSERT)
    with contextlib.closing(psycopg2.connect(as_server(own_database_url))) as own:
        own.autocommit = True
        keep_house_on(own, 36_500)
    assert query(own_database_url, "SELECT count(*) FROM erasure") == [(0,)]


def keep_house_on(connection: psycopg2.extensions.connection, retention_days: int = 1) -> None:
    """Keep house once."""

    async def execute_on(sql: str, values: Sequence[Any] | None = None) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    async def run() -> None:
        async for _ in keep_house(execute_on, retention_days):
            pass

    asyncio.run(run())


def test_a_key_can_be_used_again_after_thirty_days(own_database_url: str) -> None:
    execute(own_database_url, _INSERT)
    receipt = str(uuid.uuid4())
    role = as_server(own_database_url)
    execute(role, f"SELECT begin_erasure('acme', '{receipt}', true, '', '', '', NULL, false, 'test', NULL)")
    assert query(role, f"SELECT finished FROM erase_step('acme', '{receipt}', 'w', 100)") == [(True,)]

    async def create(commits: GroupCommit) -> Event:
        return await commits.write(One(make_event("acme", key="key 10")))

    with pytest.raises(KeyErased):
        run_with_commits(own_database_url, create)
    count = "SELECT count(*) FROM erased_key"
    execute(own_database_url, "UPDATE erasure SET created_at = created_at - interval '31 days'")
    execute(
        own_database_url,
        "UPDATE erased_key SET erased_at = erased_at - interval '31 days'"
        " WHERE key_hash = (SELECT key_hash FROM erased_key LIMIT 1)",
    )
    run_until(own_database_url, count, [(4,)])
    execute(own_database_url, "UPDATE erased_key SET erased_at = erased_at - interval '31 days'")
    execute(own_database_url, "UPDATE erasure SET finished_at = finished_at - interval '31 days'")
    run_until(own_database_url, "SELECT keeps_keys FROM erasure", [(False,)])
    assert query(own_database_url, count) == [(0,)]
    assert run_with_commits(own_database_url, create).customer_id == "acme"
