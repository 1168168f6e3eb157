"""Exports in progress: how many there are, who may read them, and what ends them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from data_analytics.v1.export_pb2 import ExportAnalyticsEventsRequest
from server.access.caller import ERASE, READ, WRITE
from server.app import LIMITS
from tests.support.access import bearer, make_key
from tests.support.database import terminate_backends
from tests.support.events import insert, make_event
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import refused
from tests.support.until import until

DENIED, EXHAUSTED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED
EACH = LIMITS.exports_each

LARGE = 300
"""How many of the large events no client takes in before it reads them."""


def export(server: RunningServer, customer: str, key: str = "", **fields: Any) -> Any:
    request = ExportAnalyticsEventsRequest(customer_id=customer, **fields)
    metadata = tuple(bearer(key).items()) if key else ()
    return server.client.events.ExportAnalyticsEvents(request, timeout=60, metadata=metadata)


def fill(url: str, *customers: str) -> None:
    """Store so many events that exports of these customers stay open until they are read."""
    insert(url, *[make_event(customer, message="m" * 60_000) for customer in customers for _ in range(LARGE)])


def begin(server: RunningServer, customer: str, **fields: Any) -> Any:
    """Return an export of which the first response has come."""
    call = export(server, customer, **fields)
    assert next(call).events
    return call


def test_a_customer_beyond_its_exports_is_refused_alone(
    server: RunningServer, database_url: str, customer: str
) -> None:
    other = f"{customer} 2"
    fill(database_url, customer, other)
    calls = [begin(server, customer) for _ in range(EACH)]
    with refused(EXHAUSTED) as refusal:
        list(export(server, customer))
    assert refusal.retry_seconds == 1
    calls += [begin(server, other) for _ in range(EACH)]
    rest = [response for response in calls[0] if response]
    assert rest[-1].HasField("end")
    begin(server, customer).cancel()
    for call in calls[1:]:
        call.cancel()
    until(lambda: can_begin(server, customer))


def can_begin(server: RunningServer, customer: str) -> bool:
    """Return whether a customer can begin as many exports as it may have."""
    calls = [export(server, customer) for _ in range(EACH)]
    try:
        return all(next(call).events for call in calls)
    except grpc.RpcError:
        return False
    finally:
        for call in calls:
            call.cancel()


def test_the_exports_of_all_customers_together_are_bounded(database_url: str, customer: str) -> None:
    customers = [f"{customer} {number}" for number in range(3)]
    fill(database_url, *customers)
    with running_server(database_url, LIMITS._replace(exports=4)) as server:
        calls = [begin(server, each) for each in (customers[0], customers[0], customers[1])]
        for each in customers:
            with refused(EXHAUSTED):
                list(export(server, each))
        for call in calls:
            call.cancel()


def test_a_server_that_stops_ends_its_exports_at_once(database_url: str, customer: str) -> None:
    fill(database_url, customer)
    with running_server(database_url) as server:
        call = begin(server, customer)
        stopping = asyncio.run_coroutine_threadsafe(server.application.stop(20), server.loop)
        with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
            list(call)
        assert refusal.retry_seconds == 1
        assert refusal.status.message == "the server is stopping"
        stopping.result(10)


def test_an_export_goes_on_when_its_connection_is_lost(server: RunningServer, database_url: str, customer: str) -> None:
    fill(database_url, customer)
    call = begin(server, customer)
    assert terminate_backends(database_url, "analytics export")
    *_, last = call
    assert last.end.count == LARGE


@pytest.fixture(scope="module")
def guarded(guarded_url: str) -> Iterator[RunningServer]:
    """Yield a server whose callers need credentials."""
    with running_server(guarded_url, auth=True) as running:
        yield running


def export_ids(server: RunningServer, customer: str, key: str, **fields: str) -> list[str]:
    return [event.id for response in export(server, customer, key, **fields) for event in response.events]


def test_a_caller_exports_the_events_of_its_customer_alone(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    own, _ = insert(guarded_url, make_event(customer), make_event(f"{customer} other"))
    key = make_key(guarded_url, "secret", customer)
    assert export_ids(guarded, customer, key) == [own]
    for of in (f"{customer} other", "a customer that does not exist", f"{customer} "):
        with refused(DENIED):
            export_ids(guarded, of, key)
    with refused(grpc.StatusCode.UNAUTHENTICATED):
        export_ids(guarded, customer, "")


def test_a_caller_of_some_users_exports_their_events_alone(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    own, _ = insert(guarded_url, make_event(customer), make_event(customer, user_id="other"))
    key = make_key(guarded_url, "secret", customer, "--user", "user")
    assert export_ids(guarded, customer, key, user_id="user") == [own]
    fields: dict[str, str]
    for fields in ({}, {"user_id": "other"}, {"user_id": "user "}, {"event_type": "view"}):
        with refused(DENIED):
            export_ids(guarded, customer, key, **fields)


@pytest.mark.parametrize("scope", [WRITE, ERASE, READ])
def test_an_export_needs_the_scope_to_read(guarded: RunningServer, guarded_url: str, customer: str, scope: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--scope", scope)
    if scope == READ:
        assert export_ids(guarded, customer, key) == []
    else:
        with refused(DENIED):
            export_ids(guarded, customer, key)


def test_a_token_that_another_caller_was_given_grants_nothing(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    insert(guarded_url, make_event(customer))
    key = make_key(guarded_url, "secret", customer)
    stranger = make_key(guarded_url, "secret", f"{customer} other")
    (response,) = export(guarded, customer, key)
    with refused(DENIED):
        export_ids(guarded, customer, stranger, resume_token=response.resume_token)
