"""The event loop, which nothing that a caller sends may hold for long: other callers wait meanwhile."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    CreateAnalyticsEventRequest,
)
from data_analytics.v1.export_pb2 import ExportAnalyticsEventsRequest
from server.messages.faults import format_violations
from server.messages.refusals import FieldViolation
from storage import Refusals
from tests.abuse.requests import (
    Request,
    make_batch,
    make_create,
    make_event,
    make_large_batch,
    make_raw_batch,
    make_search,
    make_summary,
)
from tests.support import events
from tests.support.in_process import Client, RunningServer
from tests.support.refused import list_refusals, make_refusals, use_refusals
from tests.support.watchdog import Watchdog

MAX_SECONDS = 0.05
"""By the contract. Of processor time, which a busy machine does not lengthen."""

PART_BYTES = 64 << 10


def call_by_grpc(client: Client, request: Request) -> None:
    """Send a request as a message, whatever comes of it."""
    call: Any = client.channel.unary_unary(request.rpc)
    call.with_call(request.message[5:])


def call_as_json(client: Client, request: Request, encoding: str = "") -> None:
    """Send a request as Envoy passes on what is sent as JSON, whatever comes of it."""
    metadata = [("x-envoy-original-path", request.path), ("content-encoding", encoding)][: 2 if encoding else 1]
    path = request.rpc.replace("v1.", "v1.http." if request.method == "GET" else "v1.http.upload.")
    if request.method == "GET":
        search: Any = client.channel.unary_stream(path)
        list(search(HttpBody().SerializeToString(), metadata=metadata))
        return
    parts = [request.json[start : start + PART_BYTES] for start in range(0, len(request.json), PART_BYTES)]
    upload: Any = client.channel.stream_unary(path)
    upload(iter([HttpBody(data=part).SerializeToString() for part in parts]), metadata=metadata)


def make_nested_batch() -> Request:
    """Return a batch of 8 MiB whose version_info is full of empty lists."""
    event = b'{"customer_id":"attacker","version_info":{"a":[' + b",".join([b"[]"] * 345_000) + b"]}}"
    lists = Value(list_value=ListValue(values=[Value(list_value=ListValue())] * 2_000_000))
    nested = CreateAnalyticsEventRequest(customer_id="attacker", version_info=Struct(fields={"a": lists}))
    message = BatchCreateAnalyticsEventsRequest(events=[nested]).SerializeToString()
    return make_raw_batch(b'{"events":[' + b",".join([event] * 8) + b"]}", message)


def make_bad_batch() -> Request:
    """Return a batch of a thousand empty events."""
    return make_raw_batch(b'{"events":[' + b",".join([b"{}"] * 1_000) + b"]}", b"\x0a\x00" * 1_000)


def make_full_batch(count: int, **fields: Any) -> Request:
    """Return a batch of that many events with these fields, each with a key."""
    return make_batch([make_event(**fields, idempotency_key=f"{fields.keys()}-{number}") for number in range(count)])


REQUESTS: dict[str, Callable[[], Request]] = {
    "a batch of empty lists": make_nested_batch,
    "a create of empty lists": lambda: make_create(version_info={"a": [[]] * 250_000}),
    "a batch of empty events": make_bad_batch,
    "a batch of opening brackets": lambda: make_raw_batch(b'{"events":[{"version_info":{"a":' + b"[" * 8_380_000, b""),
    "a batch of large messages": make_large_batch,
    "a batch of a thousand events": lambda: make_full_batch(1_000),
    "a batch of text that must be escaped": lambda: make_full_batch(40, message="\t\\\n" * 20_000),
    "a batch of large numbers": lambda: make_full_batch(100, version_info={"n": [1e99] * 3_000}),
    "a batch of small numbers": lambda: make_full_batch(100, version_info={"n": [1] * 8_000}),
    "a search for 500 recordings": lambda: make_search(recording_id=[f"{number:0255}" for number in range(500)]),
    "a search with a thousand unknown parameters": lambda: _ask_unknown(1_000),
}


@functools.cache
def make_request(name: str) -> Request:
    """Return one of them. To make the largest takes seconds."""
    return REQUESTS[name]()


def _ask_unknown(count: int) -> Request:
    search = make_search()
    return search._replace(path=search.path + "".join(f"&custmer_id{number}=1" for number in range(count)))


def check(server: RunningServer, act: Callable[[], None]) -> None:
    """Check that what is done does not hold the server's event loop, in one of three attempts.

    Where others use the same processor, even the time that a thread itself takes of it grows by half.
    """
    for _ in range(3):
        with Watchdog(server.loop) as watching:
            act()
        if watching.longest < MAX_SECONDS:
            return
    pytest.fail(f"held for {watching.longest * 1e3:.0f} ms:\n{watching.culprit}")


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("call", [call_by_grpc, call_as_json])
def test_no_request_holds_the_event_loop(
    server: RunningServer, client: Client, name: str, call: Callable[[Client, Request], None]
) -> None:
    request = make_request(name)

    def send() -> None:
        for _ in range(2):  # The second time, the keys are known.
            with contextlib.suppress(grpc.RpcError):
                call(client, request)

    check(server, send)


@pytest.mark.parametrize("message", ["m" * 65_000, "\n" * 65_000])
def test_a_large_page_does_not_hold_the_event_loop(server: RunningServer, client: Client, message: str) -> None:
    fields = {"recording_id": f"large page {message[:1]!r}", "message": message}
    for _ in range(2):
        call_by_grpc(client, make_batch([make_event(**fields)] * 120))
    search = make_search(recording_id=[fields["recording_id"]], page_size=240)
    address, unlimited = f"127.0.0.1:{server.application.port}", [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, unlimited) as channel:

        def find() -> None:
            call_by_grpc(Client(channel), search)
            call_as_json(Client(channel), search)

        check(server, find)


def test_an_export_does_not_hold_the_event_loop(server: RunningServer, client: Client, database_url: str) -> None:
    customer = "an export"
    small = [events.make_event(customer, version_info='{"vfp":"3.1.0"}') for _ in range(3_000)]
    large = [events.make_event(customer, version_info=f'{{"n":[{"1," * 8_000}1]}}') for _ in range(60)]
    escaped = [events.make_event(customer, message="\n" * 65_000) for _ in range(60)]
    events.insert(database_url, *small, *large, *escaped)
    rpc = "/data_analytics.v1.AnalyticsEventService/ExportAnalyticsEvents"
    message = ExportAnalyticsEventsRequest(customer_id=customer).SerializeToString()
    path = "/api/v1/analytics_events:export?customer_id=an+export"
    stream: Any = client.channel.unary_stream(rpc)

    def export() -> None:
        assert len(list(stream(message))) > 12
        call_as_json(client, Request("GET", path, b"", rpc, message))

    check(server, export)


def test_the_longest_page_of_refusals_does_not_hold_the_event_loop(
    server: RunningServer, client: Client, database_url: str, customer: str
) -> None:
    violations = format_violations([FieldViolation("message", "x" * 190)] * 10)
    longest = [refusal._replace(violations=violations, tool_signature="ü" * 255) for refusal in make_refusals(1_000)]

    async def keep(refusals: Refusals) -> None:
        for start in range(0, len(longest), 50):
            await refusals.keep(customer, longest[start : start + 50])

    use_refusals(database_url, keep)
    path = f"/api/v1/refusals?customer_id={quote(customer)}&pageSize=1000"

    def find() -> None:
        assert len(list_refusals(client, customer, page_size=1_000)) == 1_000
        rpc = "/data_analytics.v1.http.AnalyticsEventService/ListRefusals"
        call: Any = client.channel.unary_stream(rpc)
        list(call(HttpBody().SerializeToString(), metadata=[("x-envoy-original-path", path)]))

    check(server, find)


def test_a_large_summary_does_not_hold_the_event_loop(server: RunningServer, client: Client) -> None:
    padding = "\u00e9" * 200
    for number in range(10):
        events = [
            make_event(entity_id=f"{padding}{number}-{each}", user_id=f"{padding}{each}") for each in range(1_000)
        ]
        call_by_grpc(client, make_batch(events))
    request = make_summary(by=["user_id", "entity_id"], top=10_000)
    address, unlimited = f"127.0.0.1:{server.application.port}", [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, unlimited) as channel:

        def find() -> None:
            call_by_grpc(Client(channel), request)
            call_as_json(Client(channel), request)

        check(server, find)
