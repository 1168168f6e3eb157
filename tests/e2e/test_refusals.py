"""Refusals, through the real Envoy: they have one form, whichever part refuses."""

import contextlib
import json
import socket
import time
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.support.http import Http, violations

LEAD = "/api/v1/lead_analytics"
SEARCH = "/api/v1/lead_analytics/search"
GOOD = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
ASKED = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r"}


def check_refusal(answer: Any, status: int, code: int) -> None:
    """Check the form of a refusal without details."""
    assert answer.status == status, answer
    assert set(answer.json) == {"code", "message", "details"}
    assert (answer.json["code"], answer.json["details"]) == (code, [])


@pytest.mark.parametrize(
    ("path", "required"),
    [
        (
            "/api/v1/analytics_events",
            {"customer_id", "user_id", "recording_id", "event_type", "entity_id", "entity_type"},
        ),
        (LEAD, {"customer_id", "user_id", "recording_id", "event_type", "lead_id"}),
        ("/api/v1/contact_analytics", {"customer_id", "user_id", "recording_id", "event_type", "contact_id"}),
    ],
)
def test_every_missing_field_is_named_at_once(http: Http, path: str, required: set[str]) -> None:
    assert set(violations(http.post(path, {}))) == required


def test_every_field_over_its_limit_is_named_at_once(http: Http) -> None:
    limits = {
        **dict.fromkeys(GOOD, 255),
        "tool_signature": 255,
        "event_id": 255,
        "name_parser_event_id": 255,
        "recommendation_model_event_id": 255,
        "javascript_local_time": 255,
        "apex_local_time": 255,
        "event_environment_path": 2_048,
        "message": 65_536,
    }
    longest = {name: "é" * limit for name, limit in limits.items()}
    assert http.post(LEAD, longest).status == 201
    assert set(violations(http.post(LEAD, {name: text + "é" for name, text in longest.items()}))) == set(limits)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**GOOD, "customer_id": 5}, "customer_id"),
        ({**GOOD, "customer_id": {"a": "c"}}, "customer_id"),
        ({**GOOD, "message": True}, "message"),
        ({**GOOD, "message": "a\0b"}, "message"),
        ({**GOOD, "entity_id": "another"}, "entity_id"),
        ({**GOOD, "version_info": "1.2"}, "version_info"),
        ({**GOOD, "version_info": {"a\0": 1}}, "version_info"),
        ({**GOOD, "version_info": {"a": [{"b": "\0"}]}}, "version_info"),
        ({**GOOD, "version_info": {"a": "x" * 16_384}}, "version_info"),
    ],
)
def test_an_invalid_value_is_refused_by_its_field(http: Http, body: object, field: str) -> None:
    assert field in violations(http.post(LEAD, body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"customer_id":"c"',
        b'{"customer_id":"\xff"}',
        b'{"customer_id":"\\ud800"}',
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b"\x00",
        b'{"version_info":' + b'{"a":' * 200 + b"1" + b"}" * 201,
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(http: Http, body: bytes) -> None:
    assert violations(http.post(LEAD, body))


@pytest.mark.parametrize("depth", [20, 30, 40, 60, 90])
def test_a_deep_version_info_is_stored_or_refused_but_no_error(http: Http, depth: int) -> None:
    nested: Any = 1
    for _ in range(depth):
        nested = {"a": nested}
    answer = http.post(LEAD, {**GOOD, "version_info": nested})
    assert answer.status in (201, 422), answer


@pytest.mark.parametrize("field", ["customer_id", "version_info"])
def test_a_list_in_place_of_a_value_is_refused_without_its_field(http: Http, field: str) -> None:
    # The transcoder does not say which field it was.
    assert violations(http.post(LEAD, {**GOOD, field: ["c"]})) == {"": "holds a list where a single value belongs"}


def test_valid_json_is_not_called_invalid(http: Http) -> None:
    assert violations(http.post(LEAD, {**GOOD, "": 1})) == {"": "has a key that is empty"}
    for event in (5, "a\nb", True):
        answer = http.post("/api/v1/analytics_events:batch", {"events": [{}, event]})
        assert violations(answer) == {"events[1]": "must be a JSON object"}
    assert violations(http.post(LEAD, b'{"version_info":{"a":1e999}}')) == {"": "holds a number that is too large"}
    for twice in (b'{"version_info":{"a":1,"a":2}}', b'{"version_info":{"b":{"a":1,"a":2}}}'):
        assert violations(http.post(LEAD, twice)) == {"version_info": "has a key twice"}


def test_an_unknown_field_is_dropped_from_a_body(http: Http) -> None:
    assert http.post(LEAD, {**GOOD, "unknown": {"a": [1]}}).status == 201


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": "one"}, "page"),
        ({"page": ""}, "page"),
        ({"page": "1.5"}, "page"),
        ({"page": 2_147_483_648}, "page"),
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": 1_001}, "pageSize"),
        ({"pageSize": "ten"}, "pageSize"),
        ({"latest": "maybe"}, "latest"),
        ({"unknown": "x"}, "unknown"),
        ({"unknown": ""}, "unknown"),
        ({"customer_id[]": "x"}, "customer_id%5B%5D"),
        ({"customer_id": ["c", "d"]}, "customer_id"),
        ({"page": [1, 2]}, "page"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u" * 256}, "user_id"),
        ({"recording_id": ""}, "recording_id[0]"),
        ({"recording_id": ["r"] * 501}, "recording_id"),
    ],
)
def test_a_wrong_parameter_is_refused_under_the_name_that_the_caller_wrote(
    http: Http, parameters: dict[str, object], field: str
) -> None:
    assert set(violations(http.search(SEARCH, **{**ASKED, **parameters}))) == {field}


def test_a_search_takes_no_body_and_a_create_no_parameters(http: Http) -> None:
    assert set(violations(http("GET", SEARCH, {"recording_id": ["a"]}))) == {""}
    assert set(violations(http.post(f"{LEAD}?message=m", GOOD))) == {"message"}


def test_a_question_mark_alone_is_no_parameter(http: Http) -> None:
    assert http.post(f"{LEAD}?", GOOD).status == 201
    assert violations(http("GET", f"{SEARCH}?"))


def test_a_search_of_ten_thousand_faults_is_refused_without_delay(http: Http) -> None:
    def timed_search() -> float:
        start = time.monotonic()
        assert "recording_id" in violations(http("GET", f"{SEARCH}?{'recording_id=&' * 10_000}"))
        return time.monotonic() - start

    # The best of several, so that a busy machine does not matter.
    assert min(timed_search() for _ in range(5)) < 1


def test_headers_that_the_service_does_not_use_change_nothing(http: Http) -> None:
    headers = {
        "x-name": "M\u00fcller",
        "user-agent": "M\u00fcller",
        "cookie": "c" * 20_000,
        "x-bin": "=",
        "grpc-timeout": "1n",
    }
    for _ in range(5):
        assert http("POST", LEAD, GOOD, headers).status == 201


def test_the_size_of_a_version_info_is_measured_as_json(http: Http) -> None:
    assert set(violations(http.post(LEAD, {**GOOD, "version_info": {"a": [0] * 250_000}}))) == {"version_info"}
    assert http.post(LEAD, {**GOOD, "version_info": {"a": [0] * 8_000}}).status == 201


def test_a_version_info_of_twenty_mixed_levels_is_stored(http: Http) -> None:
    mixed: Any = 1
    for level in range(20):
        mixed = {"a": mixed} if level % 2 else [mixed]
    assert http.post(LEAD, {**GOOD, "version_info": mixed}).status == 201


@pytest.mark.parametrize("kind", ["lead", "contact"])
def test_every_invalid_parameter_is_named_at_once(http: Http, kind: str) -> None:
    answer = http.search(f"/api/v1/{kind}_analytics/search", page=0, pageSize=0)
    assert set(violations(answer)) == {"customer_id", "user_id", f"{kind}_id", "recording_id", "page", "pageSize"}


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/lead_analytics/", "/api/v2/lead_analytics", "/nowhere?a=b"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_route_is_404(http: Http, method: str, path: str) -> None:
    check_refusal(http(method, path, {} if method == "POST" else None), 404, 5)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/analytics_events", "POST"),
        (LEAD, "POST"),
        ("/api/v1/contact_analytics", "POST"),
        (SEARCH, "GET"),
        ("/api/v1/contact_analytics/search", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_405_and_the_answer_names_the_allowed_one(
    http: Http, path: str, allowed: str, method: str
) -> None:
    if method == allowed:
        return
    answer = http(method, path)
    check_refusal(answer, 405, 12)
    assert answer.headers["allow"] == allowed


def test_a_body_over_a_mebibyte_is_413(http: Http) -> None:
    check_refusal(http.post(LEAD, b" " * ((1 << 20) + 1)), 413, 8)
    assert http.post(LEAD, json.dumps(GOOD).encode().ljust(1 << 20)).status == 201


def test_a_chunked_body_over_a_mebibyte_is_413(http: Http) -> None:
    connection = HTTPConnection("127.0.0.1", http.port, timeout=10)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # It may be refused before all of it is sent.
            connection.request("POST", LEAD, (b"x" * 65_536 for _ in range(20)), encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (413, 8)
    finally:
        connection.close()


def test_headers_over_the_limit_are_431(http: Http) -> None:
    check_refusal(http("GET", SEARCH, headers={"x-large": "x" * 300_000}), 431, 8)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GARBAGE\r\n\r\n", 422),
        (b"GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 422),
        (b"GET / HTTP/1.0\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 422),
    ],
)
def test_malformed_http_is_answered_in_the_same_form(http: Http, request_bytes: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=10) as connection:
        connection.sendall(request_bytes)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert b"content-type: application/json" in head
    assert json.loads(body)["code"] == 3


def test_a_connection_stays_usable_after_a_refusal(http: Http) -> None:
    connection = HTTPConnection("127.0.0.1", http.port, timeout=10)
    try:
        for body, status in ((b"{", 422), (json.dumps(GOOD).encode(), 201), (b"{}", 422)):
            connection.request("POST", LEAD, body)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
    finally:
        connection.close()
