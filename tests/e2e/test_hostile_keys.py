"""Idempotency keys of every sort in the header, through the real Envoy."""

import json
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.support.http import Answer, Http, violations

LEAD = "/api/v1/lead_analytics"


def post(http: Http, event: dict[str, Any], *keys: bytes) -> Answer:
    """Sends an event under these keys, each in a header of its own."""
    connection = HTTPConnection("127.0.0.1", http.port, timeout=10)
    try:
        body = json.dumps(event).encode()
        connection.putrequest("POST", LEAD)
        for name, value in (("content-type", b"application/json"), ("content-length", b"%d" % len(body))):
            connection.putheader(name, value)
        for key in keys:
            connection.putheader("Idempotency-Key", key)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@pytest.fixture
def event(customer: str) -> dict[str, Any]:
    return {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r", "event_type": "view"}


@pytest.mark.parametrize(
    "keys",
    [
        *([b"k" * 255], [b"a b"], [b"'; DROP TABLE analytics_event; --"], [b"%s %(a)s $1 {}"], [b"\\N"], [b"\\."]),
        *([b'"quoted"'], [b"a,b"], [b","], [b"NULL"], [b"a", b"b"], [b"a", b"a"], [b"", b"a"]),
    ],
    ids=ascii,
)
def test_a_key_is_taken_as_it_is(http: Http, event: dict[str, Any], keys: list[bytes]) -> None:
    first, again = post(http, event, *keys), post(http, event, *keys)
    assert (first.status, first.headers.get("idempotency-replayed")) == (201, None)
    assert (again.status, again.headers.get("idempotency-replayed")) == (201, "true")
    assert first.body == again.body
    assert set(violations(post(http, {**event, "message": "another"}, *keys))) == {"idempotency-key"}
    assert "idempotency-replayed" not in post(http, event, b"another").headers


@pytest.mark.parametrize("keys", [[b""], [b"   "], [b"\t"], []], ids=ascii)
def test_an_empty_key_is_none(http: Http, event: dict[str, Any], keys: list[bytes]) -> None:
    first, second = post(http, event, *keys), post(http, event, *keys)
    assert (first.status, second.status) == (201, 201)
    assert first.json["partitionKey"] != second.json["partitionKey"]


@pytest.mark.parametrize(
    "keys",
    [
        *([b"k" * 200, b"k" * 200], [b"k" * 255] * 50, [b"k"] * 90, [b"k" * 12_000]),
        *([b"\xff"], [b"h\xc3\xa9"], [b"\xed\xa0\x80"], [b"\xe2\x80\xae"], [b"a\tb"]),
    ],
    ids=lambda keys: f"{len(keys)} of {keys[0][:9]!a}",
)
def test_a_key_that_is_none_is_refused_with_all_else(http: Http, event: dict[str, Any], keys: list[bytes]) -> None:
    assert set(violations(post(http, {**event, "user_id": ""}, *keys))) == {"idempotency-key", "user_id"}


@pytest.mark.parametrize("key", [b"a\x00b", b"a\x01b", b"a\x1bb", b"a\x7fb"])
def test_a_control_character_in_a_header_is_no_http(http: Http, event: dict[str, Any], key: bytes) -> None:
    answer = post(http, event, key)
    assert (answer.status, answer.json) == (422, {"code": 3, "message": "malformed HTTP request", "details": []})


def test_more_headers_than_are_taken_are_431(http: Http, event: dict[str, Any]) -> None:
    answer = post(http, event, *[b"k"] * 200)
    assert (answer.status, answer.json["code"]) == (431, 8)
