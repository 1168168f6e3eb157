"""A worker that is killed in the middle of an erasure: another one finishes it, and creates go on meanwhile."""

import contextlib
import os
import signal
from collections.abc import Iterator

import grpc

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest, GetErasureRequest
from tests.support.database import as_server, execute, query
from tests.support.in_process import Client
from tests.support.processes import free_port, started_module
from tests.support.requests import analytics_event
from tests.support.until import until

EVENTS = 100_000

# As many events as take some seconds to erase. Every second one is the user's.
_SEED = f"""
INSERT INTO analytics_event (
  customer_id, id, created_at, updated_at, entity_type, entity_id, user_id, recording_id, event_type, tool_signature,
  event_id, message, javascript_local_time, apex_local_time, event_environment_path, name_parser_event_id,
  recommendation_model_event_id, search_key, idempotency_key
)
SELECT 'acme', (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000000000000000')::uuid,
  to_timestamp(1700000000 + n / 1000.0), to_timestamp(1700000000 + n / 1000.0), 'lead', 'l', 'user ' || n % 2, 'r',
  'view',
  '', '', '', '', '', '', '', '', gen_random_uuid(), CASE WHEN n % 10 = 1 THEN 'key ' || n ELSE '' END
FROM generate_series(1, {EVENTS}) AS n
"""


@contextlib.contextmanager
def worker(url: str) -> Iterator[tuple[int, Client]]:
    """Run a worker, and yield its process id and a client."""
    port = free_port()
    with (
        started_module("server", DATABASE_URL=as_server(url), GRPC_PORT=str(port)) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        grpc.channel_ready_future(channel).result(20)
        yield process.pid, Client(channel)


def test_another_worker_finishes_what_a_killed_one_began(own_database_url: str) -> None:
    execute(own_database_url, _SEED)
    stored = 0
    with worker(own_database_url) as (_, survivor):
        with worker(own_database_url) as (victim, client):
            request = EraseAnalyticsEventsRequest(customer_id="acme", user_id="user 1")
            erasing = client.events.EraseAnalyticsEvents.future(request, timeout=20)
            ((receipt_id, holder),) = until(
                lambda: query(own_database_url, "SELECT id::text, leased_by FROM erasure WHERE erased_count > 0")
            )
            os.kill(victim, signal.SIGKILL)
            assert erasing.exception() is not None
        receipt = GetErasureRequest(customer_id="acme", id=receipt_id)
        begun = survivor.events.GetErasure(receipt, timeout=5)
        assert begun.finished_at == ""
        assert 0 < begun.erased_count < EVENTS / 2

        def create_and_look() -> bool:
            nonlocal stored
            survivor.events.CreateAnalyticsEvent(analytics_event("acme", user_id="user 0"), timeout=5)
            stored += 1
            return bool(survivor.events.GetErasure(receipt, timeout=5).finished_at)

        until(create_and_look)
        done = survivor.events.GetErasure(receipt, timeout=5)
    assert done.erased_count == EVENTS / 2
    assert stored > 1
    counts = query(own_database_url, "SELECT user_id, count(*) FROM analytics_event GROUP BY 1")
    assert counts == [("user 0", EVENTS / 2 + stored)]
    assert query(own_database_url, "SELECT count(*) FROM erased_key") == [(EVENTS / 10,)]
    assert query(own_database_url, "SELECT leased_by <> %s FROM erasure", holder) == [(True,)]
