"""The RPC that watches for events: what it sends, to whom, and what ends it."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import GetAnalyticsEventRequest
from data_analytics.v1.event_pb2 import EventRecord
from data_analytics.v1.watch_pb2 import WatchAnalyticsEventsRequest
from server.access.caller import ERASE, READ, WRITE
from server.app import LIMITS
from server.messages.watch_token import TokenMaker
from storage import Snapshot, WatchPosition
from storage.ids import make_bound
from tests.support.access import bearer, make_key, revoke
from tests.support.database import refusing_connections, terminate_backends
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import refused
from tests.support.requests import EVERY_OPTIONAL_FIELD, analytics_event
from tests.support.until import until

DENIED, EXHAUSTED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def watch(server: RunningServer, customer: str, key: str = "", **fields: Any) -> Any:
    """Return a call that watches a customer's events."""
    metadata = tuple(bearer(key).items()) if key else ()
    request = WatchAnalyticsEventsRequest(customer_id=customer, **fields)
    return server.client.events.WatchAnalyticsEvents(request, timeout=50, metadata=metadata)


def begin(server: RunningServer, customer: str, key: str = "", **fields: Any) -> Any:
    """Return a watch that has begun."""
    call = watch(server, customer, key, **fields)
    first = next(call)
    assert not first.events
    assert first.resume_token
    return call


def store(server: RunningServer, customer: str, **fields: Any) -> str:
    """Store an event and return its id."""
    answer = server.client.events.CreateAnalyticsEvent(analytics_event(customer, **fields), timeout=5)
    return str(answer.partition_key).partition("|")[2]


def read(call: Any, count: int) -> list[EventRecord]:
    """Return the next events of a watch."""
    events: list[EventRecord] = []
    while len(events) < count:
        events += next(call).events
    assert len(events) == count
    return events


def test_a_watch_sends_whole_events_as_they_are_stored(server: RunningServer, customer: str) -> None:
    call = begin(server, customer)
    for number in range(3):
        stored = store(server, customer, **EVERY_OPTIONAL_FIELD, idempotency_key=str(number))
        (event,) = read(call, 1)
        asked = GetAnalyticsEventRequest(customer_id=customer, id=stored)
        assert event == server.client.events.GetAnalyticsEvent(asked, timeout=5)
        assert event.version_info["build"] == 7
    call.cancel()


def test_a_watch_goes_on_from_its_token(server: RunningServer, customer: str) -> None:
    call = begin(server, customer)
    first = store(server, customer)
    response = next(each for each in call if each.events)
    assert [event.id for event in response.events] == [first]
    call.cancel()
    missed = [store(server, customer) for _ in range(3)]
    resumed = begin(server, customer, resume_token=response.resume_token)
    assert [event.id for event in read(resumed, 3)] == missed
    last = store(server, customer)
    assert [event.id for event in read(resumed, 1)] == [last]
    resumed.cancel()


def test_a_watch_with_filters_sends_those_events_alone(server: RunningServer, customer: str) -> None:
    calls = [begin(server, customer, **{name: "wanted"}) for name in ("user_id", "event_type", "tool_signature")]
    of_contacts = begin(server, customer, entity_type="contact", entity_id="c", recording_id="r")
    later = begin(server, customer, since="2100-01-01T00:00:00Z")
    stored = [store(server, customer, **{name: "wanted"}) for name in ("user_id", "event_type", "tool_signature")]
    contact = store(server, customer, entity_type="contact", entity_id="c", recording_id="r")
    for call, event_id in zip([*calls, of_contacts], [*stored, contact], strict=True):
        assert [event.id for event in read(call, 1)] == [event_id]
        call.cancel()
    later.cancel()


def test_a_watch_says_that_it_goes_on_where_nothing_is_stored(
    server: RunningServer, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.rpc.watches.SILENT_SECONDS", 0.3)
    call = begin(server, customer)
    responses = [next(call) for _ in range(4)]
    assert not any(response.events for response in responses)
    assert len({response.resume_token for response in responses}) > 1
    call.cancel()


@pytest.mark.parametrize("token", ["x", "AAAA", "=", "A" * 4_096, "A" * 4_097])
def test_a_token_that_is_none_is_refused(server: RunningServer, customer: str, token: str) -> None:
    with refused(INVALID) as refusal:
        next(watch(server, customer, resume_token=token))
    assert set(refusal.violations) == {"resume_token"}


def test_a_token_of_another_watch_is_refused(server: RunningServer, customer: str) -> None:
    token = next(watch(server, customer)).resume_token
    begin(server, customer, resume_token=token).cancel()
    for fields in ({"user_id": "u"}, {"since": "2026-01-31T00:00:00Z"}):
        with refused(INVALID) as refusal:
            next(watch(server, customer, resume_token=token, **fields))
        assert set(refusal.violations) == {"resume_token"}
    with refused(INVALID):
        next(watch(server, f"{customer} other", resume_token=token))


def test_a_token_that_is_too_old_or_of_another_database_says_what_to_do(server: RunningServer, customer: str) -> None:
    now = int(time.time() * 1_000)
    snapshot = Snapshot(700, 700, ())
    position = WatchPosition(1, 1, snapshot, None, 0, make_bound(now), now, now, 700)
    asked = ("watch", customer, make_bound(0), make_bound(2**60))
    for made, text in (
        (position._replace(mark_at=now - 25 * 3_600_000), "over 24 hours old"),
        (position, "has failed over or was restored"),
    ):
        with refused(INVALID) as refusal:
            next(watch(server, customer, resume_token=TokenMaker(made, asked).make()))
        assert text in refusal.violations["resume_token"]
        assert "list or export" in refusal.violations["resume_token"]


@pytest.fixture(scope="module")
def guarded(guarded_url: str) -> Iterator[RunningServer]:
    """Yield a server whose callers need credentials."""
    with running_server(guarded_url, auth=True) as running:
        yield running


def test_a_caller_watches_what_it_may_list_alone(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    begin(guarded, customer, make_key(guarded_url, "secret", customer, "--scope", READ)).cancel()
    of_user = make_key(guarded_url, "secret", customer, "--user", "user")
    begin(guarded, customer, of_user, user_id="user").cancel()
    stranger = make_key(guarded_url, "secret", f"{customer} other")
    writer = make_key(guarded_url, "secret", customer, "--scope", WRITE, "--scope", ERASE)
    for key, fields in (
        (of_user, {}),
        (of_user, {"user_id": "other"}),
        (of_user, {"event_type": "view"}),
        (stranger, {}),
        (writer, {}),
    ):
        with refused(DENIED):
            next(watch(guarded, customer, key, **fields))


def test_a_watch_ends_when_its_key_is_revoked(
    guarded: RunningServer, guarded_url: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.rpc.watches.SILENT_SECONDS", 0.5)
    key = make_key(guarded_url, "secret", customer)
    call = begin(guarded, customer, key)
    revoke(guarded_url, key)
    with refused(grpc.StatusCode.UNAUTHENTICATED):
        list(call)


def test_a_watch_without_credentials_ends_with_the_first_key(
    own_database_url: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.rpc.watches.SILENT_SECONDS", 0.5)
    with running_server(own_database_url, auth=None) as server:
        call = begin(server, customer)
        make_key(own_database_url, "secret", customer)
        with refused(grpc.StatusCode.UNAUTHENTICATED):
            list(call)


def test_watches_beyond_those_that_there_may_be_are_refused(database_url: str, customer: str) -> None:
    limits = LIMITS._replace(watches=6, watches_each=2)
    with running_server(database_url, limits) as server:
        calls = [begin(server, customer) for _ in range(2)]
        with refused(EXHAUSTED) as refusal:
            next(watch(server, customer))
        assert refusal.retry_seconds == 1
        calls.append(begin(server, f"{customer} other"))
        calls.pop(0).cancel()
        until(lambda: is_open(server, customer))
        for call in calls:
            call.cancel()


def is_open(server: RunningServer, customer: str) -> bool:
    """Return whether one more watch can begin."""
    try:
        begin(server, customer).cancel()
    except grpc.RpcError:
        return False
    return True


def test_a_watch_ends_as_unavailable_when_the_server_stops(database_url: str, customer: str) -> None:
    ends: list[grpc.RpcError] = []

    def read_on(call: Any) -> None:
        with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
            list(call)
        ends.append(refusal.error)
        assert refusal.retry_seconds == 1

    with running_server(database_url) as server:
        call = begin(server, customer)
        reader = threading.Thread(target=read_on, args=(call,))
        reader.start()
        server.run(server.application.stop(10))
        reader.join(5)
        assert len(ends) == 1


def test_a_watch_ends_with_an_outage_and_goes_on_after_it(own_database_url: str, customer: str) -> None:
    url = own_database_url
    with running_server(url) as server:
        call = begin(server, customer)
        first = store(server, customer)
        response = next(each for each in call if each.events)
        assert [event.id for event in response.events] == [first]
        with refusing_connections(url), refused(grpc.StatusCode.UNAVAILABLE) as refusal:
            terminate_backends(url, "analytics watch")
            list(call)
        assert refusal.retry_seconds == 1
        until(server.client.is_serving)
        stored = store(server, customer)
        resumed = begin(server, customer, resume_token=response.resume_token)
        assert [event.id for event in read(resumed, 1)] == [stored]
        resumed.cancel()
