"""Erasures as JSON, through the real Envoy."""

import contextlib
import gzip
import json
from http.client import HTTPConnection
from typing import Any

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest, GetErasureRequest
from tests.support.http import Http, violations
from tests.support.in_process import Client
from tests.support.requests import analytics_event
from tests.support.stack import Stack
from tests.support.until import until

ERASE = "/api/v1/analytics_events:erase"
KEYS = [
    "id",
    "customer_id",
    "all_events",
    "user_id",
    "entity_type",
    "entity_id",
    "created_before",
    "block_later",
    "requested_by",
    "created_at",
    "finished_at",
    "erased_count",
    "last_id",
]


def find(http: Http, customer: str, receipt_id: str) -> Any:
    return http.search(f"/api/v1/erasures/{receipt_id}", customer_id=customer)


@pytest.mark.parametrize("path", [ERASE, ERASE.replace(":", "%3A"), ERASE.replace(":", "%3a")])
def test_events_are_erased_and_the_receipt_is_shown_later(http: Http, customer: str, path: str) -> None:
    event = {"customer_id": customer, "user_id": "u", "recording_id": "r", "event_type": "view"}
    stored = http.post("/api/v1/lead_analytics", {**event, "lead_id": "l"}, {"idempotency-key": "key"})
    answer = http.post(path, {"customer_id": customer, "user_id": "u"})
    assert (answer.status, list(answer.json)) == (200, KEYS)
    assert (answer.json["erased_count"], answer.json["user_id"], answer.json["all_events"]) == (1, "u", False)
    assert stored.json["partitionKey"].endswith(answer.json["last_id"])
    shown = find(http, customer, answer.json["id"])
    assert (shown.status, shown.json) == (200, answer.json)
    search = {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r"}
    assert http.search("/api/v1/lead_analytics/search", **search).json["meta"]["rowCount"] == 0
    again = http.post("/api/v1/lead_analytics", {**event, "lead_id": "l"}, {"idempotency-key": "key"})
    assert "erased" in violations(again)["idempotency-key"]


def test_a_receipt_that_is_not_there_is_a_404(http: Http, customer: str) -> None:
    answer = find(http, customer, "01a2090f-a62c-7406-bf6e-18ff40af2c25")
    assert (answer.status, answer.json["code"]) == (404, 5)
    assert list(violations(find(http, customer, "no-id"))) == ["id"]
    assert list(violations(http("GET", "/api/v1/erasures/01a2090f-a62c-7406-bf6e-18ff40af2c25"))) == ["customer_id"]
    twice = http.search("/api/v1/erasures/01a2090f-a62c-7406-bf6e-18ff40af2c25", customer_id=[customer, "b"], id="x")
    assert set(violations(twice)) == {"customer_id", "id"}
    with_body = http("GET", "/api/v1/erasures/01a2090f-a62c-7406-bf6e-18ff40af2c25?customer_id=a", {"a": 1})
    assert list(violations(with_body)) == [""]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", [""]),
        (b"[]", [""]),
        (b"{", [""]),
        (b'{"customer_id":"c","all_events":true} x', [""]),
        (b'{"customer_id":"c","all_events":true,"all_events":true}', ["all_events"]),
        (b'{"customer_id":"c","all_events":"true"}', ["all_events"]),
        (b'{"customer_id":"c","all_events":1}', ["all_events"]),
        (b'{"customer_id":"c","all_event":true}', ["all_event"]),
        (b'{"customer_id":"c","user_id":7,"x":{"a":[1]}}', ["user_id", "x"]),
        (b'{"customer_id":"c","user_id":"CORP\\jdoe"}', ["user_id"]),
        (b'{"customer_id":"c","older_than_days":1.5}', ["older_than_days"]),
        (b'{"customer_id":"c","older_than_days":"1"}', ["older_than_days"]),
        (b'{"customer_id":"c","older_than_days":99999999999}', ["older_than_days"]),
        (b'{"customer_id":"c","older_than_days":-1}', ["older_than_days"]),
        (b'{"customer_id":"c","user_id":null}', [""]),
        (b'{"customer_id":"c","user_id":"\xff"}', ["user_id"]),
        (b'{"user_id":"u"}', ["customer_id"]),
    ],
)
def test_a_body_that_is_not_clear_is_refused(http: Http, body: bytes, fields: list[str]) -> None:
    assert list(violations(http.post(ERASE, body))) == fields


def test_parameters_other_methods_and_large_bodies_are_refused(http: Http, customer: str) -> None:
    erasure = {"customer_id": customer, "all_events": True}
    assert list(violations(http.post(f"{ERASE}?user_id=u", erasure))) == ["user_id"]
    for method, path, allowed in (("GET", ERASE, "POST"), ("DELETE", "/api/v1/erasures/x", "GET")):
        answer = http(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert http.post(ERASE, json.dumps(erasure).encode() + b" " * 20_000).status == 413
    packed = http.post(ERASE, gzip.compress(json.dumps(erasure).encode()), {"content-encoding": "gzip"})
    assert packed.status == 200
    assert http.post(ERASE, b"x", {"content-encoding": "br"}).status == 415


@pytest.mark.parametrize("content_type", ["", "text/plain", "text/plain; application/json", "application/json-seq"])
def test_what_any_page_can_send_without_asking_erases_nothing(http: Http, customer: str, content_type: str) -> None:
    event = {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r", "event_type": "view"}
    assert http.post("/api/v1/lead_analytics", event, {"content-type": content_type}).status == 201
    erasure = {"customer_id": customer, "all_events": True}
    assert list(violations(http.post(ERASE, erasure, {"content-type": content_type}))) == ["content-type"]
    answer = http.post(ERASE, erasure, {"content-type": "Application/JSON ;charset=utf-8"})
    assert (answer.status, answer.json["erased_count"]) == (200, 1)


def test_an_erasure_without_a_content_type_erases_nothing(http: Http) -> None:
    body = b'{"customer_id":"c","all_events":true}'
    with contextlib.closing(HTTPConnection("127.0.0.1", http.port, timeout=10)) as connection:
        connection.request("POST", ERASE, body)
        assert connection.getresponse().status == 422


def test_the_rpcs_answer_directly_and_through_envoy(client: Client, customer: str) -> None:
    client.events.CreateAnalyticsEvent(analytics_event(customer), timeout=5)
    erased = client.events.EraseAnalyticsEvents(
        EraseAnalyticsEventsRequest(customer_id=customer, all_events=True), timeout=5
    )
    assert erased.erased_count == 1
    assert client.events.GetErasure(GetErasureRequest(customer_id=customer, id=erased.id), timeout=5) == erased
    with pytest.raises(grpc.RpcError) as caught:
        client.events.GetErasure(GetErasureRequest(customer_id=f"{customer}x", id=erased.id), timeout=5)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_erasure_by_one_worker_blocks_a_user_on_all(stack: Stack, http: Http, customer: str) -> None:
    answer = http.post(ERASE, {"customer_id": customer, "user_id": "u", "block_later": True})
    assert answer.json["block_later"] is True
    for port in stack.grpc_ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            until(lambda: is_refused(Client(channel), customer))


def is_refused(client: Client, customer: str) -> bool:
    """Return whether an event of the user u is refused as invalid."""
    try:
        client.events.CreateAnalyticsEvent(analytics_event(customer, user_id="u"), timeout=5)
    except grpc.RpcError as error:
        return bool(error.code() == grpc.StatusCode.INVALID_ARGUMENT)
    return False
