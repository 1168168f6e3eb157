"""The policy that callers paste: a client comes back when the server says so, and not if it says that it must not."""

import contextlib
from collections.abc import Iterator

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from tests.support.access import bearer, make_key
from tests.support.database import count_events
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused
from tests.support.requests import analytics_event, lead_event
from tests.support.retries import HASTY, LARGE_REQUESTS, exhaust, policy_after, retrying_client

# A retry by this one would come after the deadline.
SLOW = policy_after("90s")


@pytest.fixture(scope="module")
def guarded_server(guarded_url: str) -> Iterator[RunningServer]:
    with running_server(guarded_url, auth=True) as server:
        yield server


@contextlib.contextmanager
def hasty_client(server: RunningServer, *options: tuple[str, int]) -> Iterator[Client]:
    with retrying_client(server.application.port, HASTY, *options) as client:
        yield client


def exhausted(client: Client, url: str, customer: str) -> tuple[tuple[str, str], ...]:
    """Make a key, write with it what it may write in three seconds, and return the metadata that has it."""
    key = make_key(url, "secret", customer, "--events-per-second", "1")
    exhaust(client, customer, key)
    return tuple(bearer(key).items())


def test_a_client_waits_as_long_as_the_server_says(
    guarded_server: RunningServer, guarded_url: str, customer: str
) -> None:
    with hasty_client(guarded_server) as client:
        metadata = exhausted(client, guarded_url, customer)
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            guarded_server.client.leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=5, metadata=metadata)
        assert refusal.retry_seconds >= 2
        pushback = int(refusal.trailers["grpc-retry-pushback-ms"])
        assert 1_000 * refusal.retry_seconds <= pushback <= 1_500 * refusal.retry_seconds
        client.leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=50, metadata=metadata)
        assert count_events(guarded_url, customer) == 5


def test_a_large_request_is_sent_again_only_with_an_option(
    guarded_server: RunningServer, guarded_url: str, customer: str
) -> None:
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer, message="m" * 65_000)] * 8)
    with hasty_client(guarded_server) as client:
        metadata = exhausted(client, guarded_url, customer)
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            client.events.BatchCreateAnalyticsEvents(batch, timeout=50, metadata=metadata)
    with hasty_client(guarded_server, LARGE_REQUESTS) as client:
        assert client.events.BatchCreateAnalyticsEvents(batch, timeout=50, metadata=metadata).stored_count == 8


def test_a_request_that_is_too_large_is_not_sent_again(server: RunningServer, customer: str) -> None:
    with retrying_client(server.application.port, SLOW, LARGE_REQUESTS) as client:
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            client.leads.CreateLeadAnalyticsEvent(lead_event(customer, message="m" * (1 << 20)), timeout=20)
        assert refusal.trailers["grpc-retry-pushback-ms"] == "-1"
