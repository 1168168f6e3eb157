"""Exports through the real Envoy, as newline-delimited JSON and by gRPC."""

import contextlib
import gzip
import json
import os
import re
import signal
import time
import urllib.parse
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any

import grpc
import pytest

from data_analytics.v1.export_pb2 import ExportAnalyticsEventsRequest
from tests.support.access import bearer, make_key, revoke
from tests.support.events import insert, make_event
from tests.support.http import Answer, Http, violations
from tests.support.in_process import Client
from tests.support.refusals import refused
from tests.support.stack import Stack
from tests.support.until import until

EXPORT = "/api/v1/analytics_events:export"
EVENTS = 25_000
INTERVAL = 1_000
MEBIBYTE = 1 << 20
_LINE = re.compile(rb'^\{"event":\{"id":"([^"]+)"', re.MULTILINE)
NUMBERS = '{"n":12345678901234567890.000000000012345678}'


@pytest.fixture(scope="module")
def stored(stack: Stack) -> list[str]:
    """Store many events of one customer, 40 MB as JSON, and return their ids."""
    message = "m" * 1_000
    return insert(stack.database_url, *[make_event("exported", message=message) for _ in range(EVENTS)])


def make_url(customer: str, **parameters: str) -> str:
    return f"{EXPORT}?{urllib.parse.urlencode({'customer_id': customer, **parameters})}"


def list_ids(body: bytes) -> list[str]:
    """Return the ids of the events of a whole export, after checking its end."""
    ids = [match[1].decode() for match in _LINE.finditer(body)]
    assert body.endswith(b'{"end":{"count":%d}}\n' % len(ids)), body[-200:]
    assert body.count(b"\n") == len(ids) + 1
    return ids


def export(http: Http, customer: str, headers: dict[str, str] | None = None, **parameters: str) -> Answer:
    answer = http("GET", make_url(customer, **parameters), headers=headers)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.body[:1_000]
    return answer


def test_an_export_has_each_event_once_and_goes_on_from_its_tokens(http: Http, stored: list[str]) -> None:
    body = export(http, "exported").body
    assert list_ids(body) == stored
    tokens = {number: line for number, line in enumerate(body.splitlines(), 1) if b'"resumeToken"' in line}
    assert list(tokens) == list(range(INTERVAL, EVENTS + 1, INTERVAL))
    for number in (INTERVAL, EVENTS // 2 // INTERVAL * INTERVAL, EVENTS):
        token = json.loads(tokens[number])["resumeToken"]
        assert list_ids(export(http, "exported", resumeToken=token).body) == stored[number:]


def test_an_export_is_compressed_for_who_accepts_that(http: Http, stored: list[str]) -> None:
    answer = export(http, "exported", {"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    text = gzip.decompress(answer.body)
    assert len(answer.body) < len(text) / 10
    assert list_ids(text) == stored


def test_a_grpc_export_has_each_event_once_and_an_end(client: Client, stored: list[str]) -> None:
    request = ExportAnalyticsEventsRequest(customer_id="exported")
    *others, last = client.events.ExportAnalyticsEvents(request, timeout=60)
    assert [event.id for response in (*others, last) for event in response.events] == stored
    assert last.end.count == EVENTS
    assert not any(response.HasField("end") for response in others)


def test_a_line_has_an_event_as_a_list_has_it(http: Http, customer: str) -> None:
    body = {"customer_id": customer, "user_id": "u", "recording_id": "r", "event_type": "view", "entity_type": "lead"}
    accented = json.dumps({**body, "entity_id": "\u00e9"})
    exact = json.dumps({**body, "entity_id": "l", "version_info": {}}).replace("{}", NUMBERS)
    for text in (accented, exact):
        assert http.post("/api/v1/analytics_events", text.encode()).status == 201
    listed = http("GET", f"/api/v1/analytics_events?{urllib.parse.urlencode({'customer_id': customer})}")
    exported = export(http, customer).body
    first, second, end = exported.splitlines()
    records = (first.removeprefix(b'{"event":')[:-1], second.removeprefix(b'{"event":')[:-1])
    assert listed.body == b'{"events":[%b,%b],"nextPageToken":""}' % records[::-1]
    assert end == b'{"end":{"count":2}}'
    assert NUMBERS.encode() in second
    assert export(http, customer, entity_id="l").body == b'%b\n{"end":{"count":1}}\n' % second


def test_an_export_without_events_has_one_line(http: Http, customer: str) -> None:
    assert export(http, customer).body == b'{"end":{"count":0}}\n'


def test_what_is_wrong_with_an_export_is_refused_before_it_begins(http: Http, stored: list[str]) -> None:
    token = json.loads(export(http, "exported").body.splitlines()[INTERVAL - 1])["resumeToken"]
    at_fault = {"since": "now", "entity_type": "account", "user_id": "u" * 256, "pageSize": "5"}
    assert set(violations(http("GET", make_url("exported", **at_fault)))) == set(at_fault)
    assert set(violations(http("GET", EXPORT))) == {"customer_id"}
    for url in (
        make_url("other", resumeToken=token),
        make_url("exported", resumeToken=token, user_id="user"),
        make_url("exported", resumeToken=token[:-1]),
        make_url("exported", resumeToken="x"),
    ):
        assert set(violations(http("GET", url))) == {"resumeToken"}
    assert set(violations(http("GET", make_url("a"), {}))) == {""}


def test_an_export_is_a_get_under_either_spelling(http: Http, customer: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD"):
        answer = http(method, EXPORT)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
    for colon in ("%3A", "%3a"):
        assert http("GET", make_url(customer).replace(":", colon)).body == b'{"end":{"count":0}}\n'


class Reader:
    """An export that is read as slowly as a test likes."""

    def __init__(self, port: int, url: str, headers: dict[str, str] | None = None) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("GET", url, headers=headers or {})
        self.answer = self._connection.getresponse()

    def read_line(self) -> Any:
        """Return the next line."""
        return json.loads(self.answer.readline())

    def read_rest(self) -> list[Any]:
        """Return the lines that are left. Raise IncompleteRead if the response is cut off."""
        return [json.loads(line) for line in self.answer.read().splitlines()]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextlib.contextmanager
def reading(stack: Stack, customer: str, headers: dict[str, str] | None = None) -> Iterator[Reader]:
    """Yield an export whose first line has been read."""
    with contextlib.closing(Reader(stack.http_port, make_url(customer), headers)) as reader:
        assert reader.answer.status == 200
        assert reader.read_line()["event"]
        yield reader


def measure_memory(stack: Stack) -> int:
    """Return how many bytes the workers and Envoy have in memory."""
    numbers = [*stack.numbers_of("server-1"), *stack.numbers_of("envoy")]
    pages = [int(Path(f"/proc/{number}/statm").read_text().split()[1]) for number in numbers]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_reader_that_pauses_takes_no_memory_and_misses_nothing(stack: Stack, http: Http, stored: list[str]) -> None:
    export(http, "exported")  # What one export takes, a worker keeps for the next.
    before = measure_memory(stack)
    with reading(stack, "exported") as first, reading(stack, "exported") as second:
        time.sleep(1)
        assert measure_memory(stack) < before + 16 * MEBIBYTE
        assert http("GET", make_url("exported")).status == 429
        assert http("GET", make_url("exported")).headers["retry-after"] == "1"
        assert http("GET", make_url("another customer")).status == 200
        assert stack.serves()
        for reader in (first, second):
            rest = reader.answer.read()
            assert rest.endswith(b'{"end":{"count":%d}}\n' % EVENTS)
            assert [match[1].decode() for match in _LINE.finditer(rest)] == stored[1:]
    assert measure_memory(stack) < before + 16 * MEBIBYTE


def test_an_export_whose_worker_dies_has_no_end_and_goes_on_elsewhere(
    stack: Stack, http: Http, stored: list[str]
) -> None:
    with reading(stack, "exported") as reader:
        lines = [reader.read_line() for _ in range(INTERVAL - 1)]
        os.kill(stack.number_of("server-1"), signal.SIGKILL)
        with pytest.raises(IncompleteRead):
            reader.read_rest()
    check_rest(stack, http, lines[-1]["resumeToken"], stored[INTERVAL:])


def test_an_export_whose_worker_stops_says_so_and_goes_on_elsewhere(
    stack: Stack, http: Http, stored: list[str]
) -> None:
    with reading(stack, "exported") as reader:
        lines = [reader.read_line() for _ in range(INTERVAL - 1)]
        stops = stack.log.count('"event":"stopping"')
        os.kill(stack.number_of("server-1"), signal.SIGINT)  # Without notice to load balancers.
        until(lambda: stack.log.count('"event":"stopping"') > stops)  # Otherwise all of it may be read before.
        *_, last = reader.read_rest()
    assert (last["error"]["code"], last["error"]["message"]) == (14, "the server is stopping")
    check_rest(stack, http, lines[-1]["resumeToken"], stored[INTERVAL:])


def check_rest(stack: Stack, http: Http, token: str, expected: list[str]) -> None:
    """Check that an export goes on from a token, and wait until the stack is whole again."""
    assert list_ids(export(http, "exported", resumeToken=token).body) == expected
    until(stack.is_whole)
    until(stack.serves)


def test_a_revoked_key_ends_its_exports(guarded: Stack, customer: str) -> None:
    key = make_key(guarded.database_url, "secret", customer)
    insert(guarded.database_url, *[make_event(customer, message="m" * 60_000) for _ in range(1_000)])
    request = ExportAnalyticsEventsRequest(customer_id=customer)
    with (
        reading(guarded, customer, bearer(key)) as reader,
        grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel,
    ):
        call = Client(channel).events.ExportAnalyticsEvents(request, timeout=60, metadata=tuple(bearer(key).items()))
        assert next(call).events
        revoke(guarded.database_url, key)
        time.sleep(5.5)  # The workers have noticed. Neither export has more than began to be read.
        lines = reader.read_rest()
        assert lines[-1]["error"]["code"] == grpc.StatusCode.UNAUTHENTICATED.value[0]
        assert len(lines) < 1_000
        with refused(grpc.StatusCode.UNAUTHENTICATED):
            list(call)
    assert Http(guarded.http_port)("GET", make_url(customer), headers=bearer(key)).status == 401
