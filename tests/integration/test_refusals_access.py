"""Under whose name a refusal is kept, and who sees it."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.access.caller import ERASE, READ, WRITE
from tests.support.access import create, make_key, metadata_of
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import refused
from tests.support.refused import count_rows, list_refusals, wait_for_refusals
from tests.support.requests import analytics_event, lead_event

DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def guarded(guarded_url: str) -> Iterator[RunningServer]:
    """Yield a server whose callers need credentials."""
    with running_server(guarded_url, auth=True) as running:
        yield running


def list_codes(server: RunningServer, reader: str, customer: str, count: int) -> list[str]:
    """Return the codes of so many refusals of a customer, newest first."""
    return [refusal.code for refusal in wait_for_refusals(server.client, customer, count, metadata_of(reader))]


def send_raw(server: RunningServer, key: str, data: bytes) -> Any:
    path = "/data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
    call: Any = server.client.channel.unary_unary(path)
    return call(data, timeout=5, metadata=metadata_of(key))


def test_who_may_not_store_events_of_a_customer_leaves_nothing_there(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    other = f"{customer} other"
    key, reader = make_key(guarded_url, "secret", customer), make_key(guarded_url, "secret", other, "--scope", READ)
    with refused(DENIED):
        create(guarded, other, key)
    with refused(INVALID):
        create(guarded, other, key, recording_id="")
    with refused(DENIED):
        create(guarded, other, reader)
    for credentials in (None, "nonsense", f"{key}0"):
        with refused(grpc.StatusCode.UNAUTHENTICATED):
            create(guarded, other, credentials)
    events = [analytics_event(of, recording_id=recording) for of in (customer, other) for recording in ("", "r")]
    batch = BatchCreateAnalyticsEventsRequest(events=events)
    guarded.client.events.BatchCreateAnalyticsEvents(batch, timeout=5, metadata=metadata_of(key))
    assert list_codes(guarded, key, customer, 1) == ["INVALID_ARGUMENT"]
    assert count_rows(guarded_url, other) == 0


def test_what_names_no_customer_is_kept_for_the_only_one_of_its_key(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer)
    with refused(INVALID):
        create(guarded, "", key)
    with refused(INVALID):
        send_raw(guarded, key, b"\xff\xff")
    with refused(INVALID):
        create(guarded, "c" * 256, key)
    found = wait_for_refusals(guarded.client, customer, 3, metadata_of(key))
    assert [refusal.violations[0].field for refusal in found] == ["customer_id", "", "customer_id"]


def test_an_event_of_another_user_is_a_refusal_of_its_customer(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer, "--user", "user")
    with refused(DENIED):
        create(guarded, customer, key, user_id="other", tool_signature="vfp")
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer, user_id="other")])
    guarded.client.events.BatchCreateAnalyticsEvents(batch, timeout=5, metadata=metadata_of(key))
    whole = make_key(guarded_url, "secret", customer)
    found = wait_for_refusals(guarded.client, customer, 2, metadata_of(whole))
    assert [refusal.code for refusal in found] == ["PERMISSION_DENIED"] * 2
    assert (found[1].tool_signature, found[1].violations[0].field) == ("vfp", "")
    # A caller that may see the events of some users learns nothing about those of others.
    with refused(DENIED):
        list_refusals(guarded.client, customer, metadata_of(key))


def test_a_key_that_is_over_its_rate_is_told_to_its_customer(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer, "--events-per-second", "1")
    codes = []
    while "RESOURCE_EXHAUSTED" not in codes:
        try:
            create(guarded, customer, key, tool_signature="vfp")
            codes.append("OK")
        except grpc.RpcError as error:
            codes.append(error.code().name)
    (refusal,) = wait_for_refusals(guarded.client, customer, 1, metadata_of(key))
    assert (refusal.code, refusal.tool_signature) == ("RESOURCE_EXHAUSTED", "vfp")
    assert [(each.field, each.description) for each in refusal.violations] == [
        ("", "the key has written as much as it may")
    ]


def test_a_replay_is_listed_for_its_customer_alone(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    key, stranger = (make_key(guarded_url, "secret", of) for of in (customer, f"{customer} other"))
    for _ in range(2):
        event = lead_event(customer, idempotency_key="key")
        guarded.client.leads.CreateLeadAnalyticsEvent(event, timeout=5, metadata=metadata_of(key))
    (replay,) = wait_for_refusals(guarded.client, customer, 1, metadata_of(key), include_replays=True)
    assert replay.code == "OK"
    for of in (customer, "a customer that does not exist"):
        with refused(DENIED):
            list_refusals(guarded.client, of, metadata_of(stranger), include_replays=True)


@pytest.mark.parametrize("scope", [WRITE, ERASE])
def test_the_scope_to_read_is_needed(guarded: RunningServer, guarded_url: str, customer: str, scope: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--scope", scope)
    with refused(DENIED):
        list_refusals(guarded.client, customer, metadata_of(key))
    reader = make_key(guarded_url, "secret", customer, "--scope", READ)
    assert list_refusals(guarded.client, customer, metadata_of(reader)) == []
