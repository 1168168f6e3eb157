"""Credentials that change while a request is on its way, and requests that name what is not their caller's."""

import queue
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from server.access.caller import ANYONE, Caller, name_share
from tests.support.access import create, make_key, metadata_of, revoke
from tests.support.database import count_events
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import refused
from tests.support.requests import analytics_event
from tests.support.until import until

UNAUTHENTICATED, EXHAUSTED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED
BATCH = "/data_analytics.v1.AnalyticsEventService/BatchCreateAnalyticsEvents"


@pytest.fixture(name="guarded", scope="module")
def run_guarded(guarded_url: str) -> Iterator[RunningServer]:
    """Yield a server whose callers need credentials."""
    with running_server(guarded_url, auth=True) as server:
        yield server


def test_a_key_revoked_while_a_body_arrives_stores_nothing(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer)
    message = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer)]).SerializeToString()
    create(guarded, customer, key)

    def send() -> Iterator[bytes]:
        revoke(guarded_url, key)
        time.sleep(6)  # The server has noticed.
        yield message

    # On the wire, a stream of one message is a unary request whose message is late.
    call: Any = guarded.client.channel.stream_unary(BATCH)
    with refused(UNAUTHENTICATED):
        call(send(), timeout=20, metadata=metadata_of(key))
    assert count_events(guarded_url, customer) == 1


def test_a_chunk_that_waits_is_not_stored_once_its_key_is_revoked(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer, "--events-per-second", "1")
    chunks: queue.SimpleQueue[WriteAnalyticsEventsRequest | None] = queue.SimpleQueue()
    stream = guarded.client.events.WriteAnalyticsEvents(iter(chunks.get, None), metadata=metadata_of(key))
    chunk = WriteAnalyticsEventsRequest(events=[analytics_event(customer)] * 10)
    chunks.put(chunk)
    assert next(stream).committed.stored_count == 10
    chunks.put(chunk)
    revoke(guarded_url, key)
    with refused(UNAUTHENTICATED):
        list(stream)
    chunks.put(None)
    assert count_events(guarded_url, customer) == 10


def test_a_batch_that_is_refused_as_a_whole_costs_its_bytes(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer, "--bytes-per-second", "1000")
    call: Any = guarded.client.channel.unary_unary(BATCH)

    def is_over_rate() -> bool:
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\x0a\x7f" + b"x" * 20_000, metadata=metadata_of(key))
        refusal: Any = caught.value
        return bool(refusal.code() == EXHAUSTED)

    until(is_over_rate)
    with refused(EXHAUSTED):
        create(guarded, customer, key)


def test_nobody_takes_the_share_of_a_customer_or_key_by_naming_it() -> None:
    scopes = frozenset(["events:write"])
    token = Caller("kid", frozenset(["acme", "globex"]), scopes)
    assert token.find_share("acme") == "acme"
    assert token.find_share("sk_1") == token.find_share("") == token.find_share("other") == name_share("kid")
    key = Caller("sk_1", frozenset(["acme"]), scopes, share=name_share("sk_1"))
    assert key.find_share("globex") == name_share("sk_1") != "sk_1"
    assert ANYONE.find_share("globex") == "globex"
