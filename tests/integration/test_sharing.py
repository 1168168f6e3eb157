"""What one customer takes, another does not lack."""

import asyncio
import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import WriteAnalyticsEventsRequest
from server.app import LIMITS
from server.ingest.group_commit import GroupCommit
from tests.support import requests
from tests.support.database import blocked_backends, locked_table, query
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused
from tests.support.until import until
from tests.support.writing import One, make_event, run_with_commits

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


class Stream:
    """A write stream that sends a chunk when it is told to."""

    def __init__(self, client: Client) -> None:
        self._chunks: queue.SimpleQueue[WriteAnalyticsEventsRequest | None] = queue.SimpleQueue()
        self.call: Any = client.events.WriteAnalyticsEvents(iter(self._chunks.get, None), timeout=30)

    def send(self, customer: str) -> None:
        """Send a chunk with one event, and wait until it is stored."""
        self._chunks.put(WriteAnalyticsEventsRequest(events=[requests.analytics_event(customer)]))
        assert next(self.call).committed.stored_count == 1

    def close(self) -> None:
        """End the stream."""
        self._chunks.put(None)


@pytest.fixture
def small_server(database_url: str) -> Iterator[RunningServer]:
    """Yield a server for a few calls and streams."""
    limits = LIMITS._replace(writes=20, streams=4, stream_idle_seconds=3.0)
    with running_server(database_url, limits) as running:
        yield running


def test_a_customer_that_floods_is_refused_alone(small_server: RunningServer, customer: str, database_url: str) -> None:
    create = small_server.client.leads.CreateLeadAnalyticsEvent
    with locked_table(database_url):
        first = create.future(requests.lead_event(customer), timeout=20)
        until(lambda: blocked_backends(database_url))
        flood = [create.future(requests.lead_event(customer), timeout=20) for _ in range(30)]
        until(lambda: sum(call.done() for call in flood) >= 21)
        other = create.future(requests.lead_event(f"{customer} 2"), timeout=20)
    assert {call.code() for call in flood if call.code()} == {EXHAUSTED, grpc.StatusCode.OK}
    assert sum(call.code() == EXHAUSTED for call in flood) == 21
    assert first.code() == other.code() == grpc.StatusCode.OK


def test_customers_take_turns_in_the_write_queue(database_url: str, customer: str) -> None:
    other = f"{customer} 2"

    async def write(commits: GroupCommit) -> None:
        busy = [asyncio.create_task(commits.write(One(make_event(customer)))) for _ in range(100)]
        await asyncio.gather(*busy, commits.write(One(make_event(other))))

    run_with_commits(database_url, write, max_group_events=10)
    ((later,),) = query(
        database_url,
        "SELECT count(*) FROM analytics_event WHERE customer_id = %s AND xmin::text::bigint >"
        " (SELECT xmin::text::bigint FROM analytics_event WHERE customer_id = %s)",
        customer,
        other,
    )
    assert later >= 80


def test_a_full_queue_has_room_for_another_customer(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> list[Any]:
        flood = [commits.write(One(make_event(customer))) for _ in range(20)]
        return await asyncio.gather(*flood, commits.write(One(make_event(f"{customer} 2"))), return_exceptions=True)

    outcomes = run_with_commits(database_url, write, max_events=10)
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False] * 5 + [True] * 15 + [False]


def test_a_silent_stream_is_ended_and_told_why(small_server: RunningServer, customer: str) -> None:
    stream = Stream(small_server.client)
    stream.send(customer)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream.call)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "nothing has come on the stream" in str(caught.value.details())
    stream.close()


def test_a_silent_stream_makes_room_for_another(database_url: str, customer: str) -> None:
    with running_server(database_url, LIMITS._replace(streams=4)) as server, contextlib.ExitStack() as stack:
        silent = [Stream(server.client) for _ in range(4)]
        for stream in silent:
            stack.callback(stream.close)
        assert server.client.is_serving()  # It is asked after them, on the same connection: all four are there.
        until(lambda: opens(server, customer))
        assert sum(stream.call.done() for stream in silent) == 1
        assert {stream.call.code() for stream in silent if stream.call.done()} == {grpc.StatusCode.DEADLINE_EXCEEDED}


def opens(server: RunningServer, customer: str) -> bool:
    """Return whether a stream that is opened now is served."""
    stream = Stream(server.client)
    try:
        stream.send(customer)
    except grpc.RpcError:
        assert stream.call.code() == EXHAUSTED
        return False
    finally:
        stream.close()
    return True


def test_a_customer_has_no_more_streams_than_its_share(small_server: RunningServer, customer: str) -> None:
    streams = [Stream(small_server.client) for _ in range(4)]
    for stream in streams[:2]:
        stream.send(customer)
    with refused(EXHAUSTED) as refusal:
        streams[2].send(customer)
    assert refusal.retry_seconds == 1
    streams[3].send(f"{customer} 2")
    for stream in streams:
        stream.close()


def test_streams_over_the_limit_are_refused_while_the_others_are_in_use(
    small_server: RunningServer, customer: str
) -> None:
    streams = [Stream(small_server.client) for _ in range(4)]
    for number, stream in enumerate(streams[:3]):
        stream.send(f"{customer} {number}")
    with refused(EXHAUSTED) as refusal:
        streams[3].send(f"{customer} 3")
    assert refusal.retry_seconds == 1
    for stream in streams:
        stream.close()
    until(lambda: opens(small_server, f"{customer} 3"))
