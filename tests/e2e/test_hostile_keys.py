"""Idempotency-Key headers of every kind, through the real Envoy."""

import json
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.support.http import Answer, Http, violations

LEAD = "/api/v1/lead_analytics"


def post_with_keys(http: Http, lead: dict[str, Any], *keys: bytes) -> Answer:
    """Send an event with these keys, each in a header of its own."""
    connection = HTTPConnection("127.0.0.1", http.port, timeout=10)
    try:
        body = json.dumps(lead).encode()
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
def lead(customer: str) -> dict[str, Any]:
    return {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r", "event_type": "view"}


@pytest.mark.parametrize(
    "keys",
    [
        *([b"k" * 255], [b"a b"], [b"'; DROP TABLE analytics_event; --"], [b"%s %(a)s $1 {}"], [b"\\N"], [b"\\."]),
        *([b'"quoted"'], [b"a,b"], [b","], [b"NULL"], [b"a", b"b"], [b"a", b"a"], [b"", b"a"]),
    ],
    ids=ascii,
)
def test_a_key_is_used_as_it_is(http: Http, lead: dict[str, Any], keys: list[bytes]) -> None:
    first, again = post_with_keys(http, lead, *keys), post_with_keys(http, lead, *keys)
    assert (first.status, first.headers.get("idempotency-replayed")) == (201, None)
    assert (again.status, again.headers.get("idempotency-replayed")) == (201, "true")
    assert first.body == again.body
    assert set(violations(post_with_keys(http, {**lead, "message": "another"}, *keys))) == {"idempotency-key"}
    assert "idempotency-replayed" not in post_with_keys(http, lead, b"another").headers


@pytest.mark.parametrize("keys", [[b""], [b"   "], [b"\t"], []], ids=ascii)
def test_an_empty_key_is_no_key(http: Http, lead: dict[str, Any], keys: list[bytes]) -> None:
    first, second = post_with_keys(http, lead, *keys), post_with_keys(http, lead, *keys)
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
def test_an_invalid_key_is_refused_along_with_other_fields(http: Http, lead: dict[str, Any], keys: list[bytes]) -> None:
    assert set(violations(post_with_keys(http, {**lead, "user_id": ""}, *keys))) == {"idempotency-key", "user_id"}


@pytest.mark.parametrize("key", [b"a\x00b", b"a\x01b", b"a\x1bb", b"a\x7fb"])
def test_a_control_character_in_a_header_is_malformed_http(http: Http, lead: dict[str, Any], key: bytes) -> None:
    answer = post_with_keys(http, lead, key)
    assert (answer.status, answer.json) == (422, {"code": 3, "message": "malformed HTTP request", "details": []})


def test_too_many_headers_are_431(http: Http, lead: dict[str, Any]) -> None:
    answer = post_with_keys(http, lead, *[b"k"] * 200)
    assert (answer.status, answer.json["code"]) == (431, 8)
