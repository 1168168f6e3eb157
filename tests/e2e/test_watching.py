"""Watches through the real stack with two workers: server-sent events through Envoy, and gRPC."""

import contextlib
import json
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import psycopg2
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from tests.support.access import bearer, make_key
from tests.support.browser import Chromium
from tests.support.database import query
from tests.support.events import make_event
from tests.support.http import Http, violations
from tests.support.in_process import Client, connected
from tests.support.requests import analytics_event
from tests.support.stack import Stack
from tests.support.until import until
from tests.support.watching import (
    WATCH,
    GrpcWatcher,
    HttpWatcher,
    ServerSentEvent,
    Watcher,
    make_url,
    opened,
    read_stream,
)

EVENTS = "/api/v1/analytics_events"
REQUIRED = {"user_id": "u", "recording_id": "r", "event_type": "view", "entity_type": "lead", "entity_id": "l"}


@contextlib.contextmanager
def watching(port: int, url: str, headers: dict[str, str] | None = None) -> Iterator[Iterator[ServerSentEvent]]:
    """Yield the events of a watch that has begun, behind its beginning."""
    with opened(port, url, headers) as (_, response):
        events = read_stream(response)
        assert next(events).kind == "begin"
        yield events


def create(http: Http, customer: str, headers: dict[str, str] | None = None, **fields: str) -> str:
    """Store an event and return its id."""
    answer = http.post(EVENTS, {"customer_id": customer, **REQUIRED, **fields}, headers)
    assert answer.status == 201, answer
    return str(answer.json["partitionKey"]).partition("|")[2]


def list_stored(stack: Stack, customer: str) -> list[str]:
    """Return the ids of the events that are stored."""
    rows = query(stack.database_url, "SELECT id::text FROM analytics_event WHERE customer_id = %s", customer)
    return sorted(event_id for (event_id,) in rows)


def check_each_once(watchers: list[Watcher], expected: list[str]) -> None:
    """Check that each watcher gets these events, and each of them once."""
    for watcher in watchers:
        until(lambda watcher=watcher: len(watcher.ids) >= len(expected))  # type: ignore[misc] # mypy guesses no default
    threading.Event().wait(0.6)  # Any that came twice would have come by now.
    for watcher in watchers:
        assert sorted(watcher.ids) == expected


@contextlib.contextmanager
def closing_all(watchers: list[Watcher]) -> Iterator[None]:
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.close()


def test_events_of_all_kinds_and_workers_each_come_once(stack: Stack, http: Http, customer: str) -> None:
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer)] * 70)
    chunks = [WriteAnalyticsEventsRequest(events=[analytics_event(customer)] * 25)] * 5
    with contextlib.ExitStack() as stacked:
        first, second, through_envoy = [
            stacked.enter_context(connected(port)) for port in (*stack.grpc_ports, stack.http_port)
        ]
        watchers: list[Watcher] = [
            GrpcWatcher(first, customer),
            GrpcWatcher(through_envoy, customer, reconnect_after=300),
            HttpWatcher(stack.http_port, customer),
            HttpWatcher(stack.http_port, customer, reconnect_after=300),
        ]
        stacked.enter_context(closing_all(watchers))

        def write(client: Client) -> None:
            for _ in range(5):
                client.events.BatchCreateAnalyticsEvents(batch, timeout=20)
                request = analytics_event(customer)
                for answer in [client.events.CreateAnalyticsEvent.future(request, timeout=20) for _ in range(15)]:
                    answer.result()
            assert len(list(client.events.WriteAnalyticsEvents(iter(chunks), timeout=20))) == 5

        def write_json() -> None:
            for _ in range(83):
                create(http, customer)

        with ThreadPoolExecutor(10) as pool:
            writes = [pool.submit(write, client) for client in (first, second, first, second, through_envoy)]
            writes += [pool.submit(write_json) for _ in range(3)]
        for each in writes:
            each.result()
        stored = list_stored(stack, customer)
        assert len(stored) == 5 * (350 + 75 + 125) + 249
        check_each_once(watchers, stored)
        assert [watcher.connections > 5 for watcher in watchers] == [False, True, False, True]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_watches_go_on_when_their_worker_dies_or_stops(
    stack: Stack, http: Http, customer: str, how: signal.Signals
) -> None:
    until(lambda: are_healthy(stack))  # Then Envoy calls the first alone.
    with connected(stack.http_port) as client:
        of_grpc = GrpcWatcher(client, customer)
        of_http = HttpWatcher(stack.http_port, customer)
        watchers: list[Watcher] = [of_grpc, of_http]
        with closing_all(watchers):
            writing = threading.Thread(target=write_in_spite, args=(http, customer, 100))
            writing.start()
            until(lambda: len(of_http.ids) > 20)
            os.kill(stack.number_of("server-1"), how)
            writing.join()
            until(lambda: all(watcher.connections > 1 for watcher in watchers))
            stored = list_stored(stack, customer)
            assert len(stored) == 100
            check_each_once(watchers, stored)
            assert of_http.errors == ([14] if how is signal.SIGTERM else [])
    until(lambda: stack.is_whole() and are_healthy(stack))


def are_healthy(stack: Stack) -> bool:
    """Return whether Envoy has found both workers healthy."""
    lines = stack.ask_envoy("/clusters").splitlines()
    return sum(line.startswith("watches::") and line.endswith("::health_flags::healthy") for line in lines) == 2


def write_in_spite(http: Http, customer: str, count: int) -> None:
    """Store events, each again until it is acknowledged."""
    for _ in range(count):
        headers = {"idempotency-key": str(uuid.uuid4())}
        until(lambda: try_to_create(http, customer, headers))  # noqa: B023 - called at once


def try_to_create(http: Http, customer: str, headers: dict[str, str]) -> bool:
    try:
        return http.post(EVENTS, {"customer_id": customer, **REQUIRED}, headers).status == 201
    except OSError:
        return False


def test_an_event_that_is_committed_late_comes_once(stack: Stack, http: Http, customer: str) -> None:
    late = make_event(customer)
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO analytics_event SELECT * FROM json_populate_record(NULL::analytics_event, %s)",
            (json.dumps({**late._asdict(), "search_key": str(uuid.uuid4())}),),
        )
        with watching(stack.http_port, make_url(customer)) as events:
            for _ in range(3):
                event_id = create(http, customer)
                assert next(events).data["id"] == event_id
            connection.commit()
            assert next(events).data["id"] == late.id
            event_id = create(http, customer)
            assert next(events).data["id"] == event_id


def test_server_sent_events_are_as_they_are_documented(stack: Stack, http: Http, customer: str) -> None:
    with opened(stack.http_port, make_url(customer), {"accept-encoding": "gzip, br"}) as (_, response):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-encoding"] is None
        events = read_stream(response)
        begin = next(events)
        assert (begin.kind, begin.data) == ("begin", {})
        sent = {"version_info": {"a": 1}, "message": "line\nbreak\r\u2028", "idempotency_key": "k"}
        answer = http.post(EVENTS, {"customer_id": customer, **REQUIRED, **sent})
        assert answer.status == 201
        event = next(events)
        assert event.kind == "event"
        one = http("GET", f"{EVENTS}/{event.data['id']}?{make_url(customer).partition('?')[2]}")
        assert event.data == one.json
    # What the header says is newer than what the URL says.
    headers = {"last-event-id": event.token}
    with watching(stack.http_port, make_url(customer, resumeToken=begin.token), headers) as resumed:
        event_id = create(http, customer)
        assert next(resumed).data["id"] == event_id
    for name in ("resume_token", "resumeToken"):
        with watching(stack.http_port, make_url(customer, **{name: "old"}), headers) as resumed:
            assert next(resumed).token
    with watching(stack.http_port, make_url(customer, resumeToken=begin.token)) as resumed:
        assert [next(resumed).data["id"] for _ in range(2)] == [event.data["id"], event_id]


def test_a_stack_that_stops_waits_for_no_watch(stack: Stack, customer: str) -> None:
    until(lambda: not stack.admin.count_unfinished_requests())
    with watching(stack.http_port, make_url(customer)):
        assert "cluster.watches.upstream_rq_active: 1\n" in stack.ask_envoy("/stats?filter=watches.upstream_rq_active")
        until(lambda: not stack.admin.count_unfinished_requests())


def test_what_is_wrong_with_a_watch_is_refused_before_it_begins(http: Http, customer: str) -> None:
    at_fault = {"since": "now", "entity_type": "account", "user_id": "u" * 256, "pageSize": "5"}
    assert set(violations(http("GET", make_url(customer, **at_fault)))) == set(at_fault)
    assert set(violations(http("GET", WATCH))) == {"customer_id"}
    assert set(violations(http("GET", make_url(customer, resumeToken="x")))) == {"resumeToken"}
    assert set(violations(http("GET", make_url(customer), headers={"last-event-id": "x"}))) == {"resumeToken"}
    assert set(violations(http("GET", make_url(customer), {}))) == {""}


def test_a_watch_is_a_get_under_either_spelling(stack: Stack, http: Http, customer: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD"):
        answer = http(method, WATCH)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
    for colon in ("%3A", "%3a"):
        with watching(stack.http_port, make_url(customer).replace(":", colon)):
            pass


def test_a_worker_has_twenty_watches_of_a_customer(stack: Stack, http: Http, customer: str) -> None:
    url = make_url(customer)
    with contextlib.ExitStack() as watches:
        answers: list[HTTPResponse] = []
        while not answers or answers[-1].status == 200:
            connection = watches.enter_context(contextlib.closing(HTTPConnection("127.0.0.1", stack.http_port)))
            connection.request("GET", url)
            answers.append(watches.enter_context(contextlib.closing(connection.getresponse())))
        *_, last = answers
        assert 20 < len(answers) <= 41  # Envoy may use one worker or both.
        assert (last.status, last.headers["retry-after"], json.loads(last.read())["code"]) == (429, "1", 8)
        with watching(stack.http_port, make_url(f"{customer} other")) as events:
            event_id = create(http, f"{customer} other")
            assert next(events).data["id"] == event_id


_WATCH_BY_FETCH = """async ([url, key]) => {
  const response = await fetch(url, {headers: {authorization: `Bearer ${key}`}});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("event: event")) text += (await reader.read()).value;
  await reader.cancel();
  return text;
}"""


def test_a_page_of_the_service_watches_by_fetch(guarded: Stack, customer: str, chromium: Chromium) -> None:
    key = make_key(guarded.database_url, "secret", customer)
    http = Http(guarded.http_port)
    assert http("GET", make_url(customer)).status == 401
    with chromium.launched() as browser, contextlib.closing(browser.new_page()) as page:
        page.goto(f"http://localhost:{guarded.http_port}/")
        is_over = threading.Event()
        writing = threading.Thread(target=write_until, args=(is_over, lambda: create(http, customer, bearer(key))))
        writing.start()
        try:
            text = page.evaluate(_WATCH_BY_FETCH, [make_url(customer), key])
        finally:
            is_over.set()
            writing.join()
    assert text.startswith("event: begin\nid: ")


def write_until(is_over: threading.Event, write: Callable[[], Any]) -> None:
    while not is_over.wait(0.2):
        write()
