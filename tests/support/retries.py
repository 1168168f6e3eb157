"""Clients that retry by themselves, with the policy that callers paste."""

import contextlib
from collections.abc import Iterator

import grpc

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from tests.support.access import bearer
from tests.support.in_process import Client
from tests.support.processes import ROOT
from tests.support.requests import analytics_event

POLICY = (ROOT / "docs" / "retry-policy.json").read_text()
LARGE_REQUESTS = ("grpc.per_rpc_retry_buffer_size", 8 << 20)
"""The option with which larger requests than 256 KiB are sent again too."""


def policy_after(backoff: str) -> str:
    """Return the policy with another first backoff, such as "0.1s"."""
    changed = POLICY.replace('"initialBackoff": "1s"', f'"initialBackoff": "{backoff}"')
    assert changed != POLICY
    return changed.replace('"maxBackoff": "10s"', '"maxBackoff": "100s"')


HASTY = policy_after("0.1s")
"""Its five attempts are over after 2 s, if the server does not say when they have to be."""


def exhaust(client: Client, customer: str, key: str) -> None:
    """Write, with a key for one event a second, what it may write in three seconds."""
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer)] * 4)
    client.events.BatchCreateAnalyticsEvents(batch, timeout=5, metadata=tuple(bearer(key).items()))


@contextlib.contextmanager
def retrying_client(port: int, policy: str = POLICY, *options: tuple[str, int]) -> Iterator[Client]:
    """Yield a client of a port that follows a policy."""
    given = [("grpc.service_config", policy), *options]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=given) as channel:
        yield Client(channel)
