"""Refusals by HTTP itself, through the real Envoy: in the form of all others, with the status that is documented."""

import contextlib
import json
import socket
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.support.http import Http

LEAD = "/api/v1/lead_analytics"
SEARCH = "/api/v1/lead_analytics/search"
GOOD = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}


def check_refusal(answer: Any, status: int, code: int) -> None:
    """Check the form of a refusal without details."""
    assert answer.status == status, answer
    assert set(answer.json) == {"code", "message", "details"}
    assert (answer.json["code"], answer.json["details"]) == (code, [])


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/pages/",
        "/api/v1",
        "/api/v1/lead_analytics/",
        "/api/v2/lead_analytics",
        "/nowhere?a=b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_route_is_404(http: Http, method: str, path: str) -> None:
    check_refusal(http(method, path, {} if method == "POST" else None), 404, 5)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/analytics_events", "GET, POST"),
        (LEAD, "POST"),
        ("/api/v1/contact_analytics", "POST"),
        (SEARCH, "GET"),
        ("/api/v1/refusals", "GET"),
        ("/api/v1/contact_analytics/search", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_405_and_the_answer_names_the_allowed_one(
    http: Http, path: str, allowed: str, method: str
) -> None:
    if method in allowed.split(", "):
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


@pytest.mark.parametrize("protocol", ["websocket", "TLS/1.2, h2c"])
def test_an_upgrade_to_another_protocol_is_403(http: Http, protocol: str) -> None:
    headers = {"connection": "upgrade", "upgrade": protocol}
    check_refusal(http("POST", LEAD, GOOD, headers), 403, 3)
    check_refusal(http("GET", SEARCH, headers=headers), 403, 3)


@pytest.mark.parametrize("protocol", ["TLS/1.2", "tls/1.0", "h2c"])
def test_an_upgrade_that_only_offers_is_passed_over(http: Http, protocol: str) -> None:
    # Apache HttpClient 5.4 offers TLS/1.2 with each request.
    assert http.post(LEAD, GOOD, {"connection": "upgrade", "upgrade": protocol}).status == 201


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
