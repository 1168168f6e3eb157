"""Who may call through the real Envoy, and what each caller may do."""

import contextlib
import gzip
import json
import socket
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import grpc
import pytest

from server.stack.envoy_admin import EnvoyAdmin
from tests.support.access import (
    bearer,
    make_key,
    make_signer,
    providers_claims,
    revoke,
    sign,
    signers_claims,
)
from tests.support.database import count_events
from tests.support.http import Answer, Http
from tests.support.in_process import Client
from tests.support.refusals import refused
from tests.support.requests import lead_event
from tests.support.stack import Stack, running
from tests.support.until import until

LEAD = "/api/v1/lead_analytics"
EVENTS = "/api/v1/analytics_events"
CREATES = (LEAD, "/api/v1/contact_analytics", EVENTS)
BATCH = "/api/v1/analytics_events:batch"
SEARCHES = ("/api/v1/lead_analytics/search", "/api/v1/contact_analytics/search")
UNAUTHENTICATED = {"code": 16, "message": "send exactly one valid credential, as authorization: Bearer", "details": []}
NOT_PERMITTED = "these credentials do not allow this"
NO_SCOPE = "these credentials lack the scope that this needs"
OTHER_ORIGIN = "this key is not for the origin of this request"
PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def http(guarded: Stack) -> Http:
    """Return a JSON client of that stack."""
    return Http(guarded.http_port)


@pytest.fixture
def url(guarded: Stack) -> str:
    """Return the database of that stack, as an operator has it."""
    return guarded.database_url


@pytest.fixture
def other() -> str:
    """Return another customer than the test's own."""
    return f"other {uuid.uuid4()}"


def event(customer: str, **changes: object) -> dict[str, object]:
    """Return an event that each of the three routes and the batch would store but for the names of its entity."""
    return {"customer_id": customer, "user_id": "u", "recording_id": "r", "event_type": "view", **changes}


def lead(customer: str, **changes: object) -> dict[str, object]:
    """Return the body of a create of a lead's event."""
    return event(customer, lead_id="l", **changes)


def batch(*customers: str) -> dict[str, object]:
    """Return the body of a batch with an event of each customer."""
    return {"events": [event(customer, entity_type="lead", entity_id="l") for customer in customers]}


def search(http: Http, customer: str, credentials: str | None, path: str = SEARCHES[0]) -> Answer:
    entity = "lead_id" if "lead" in path else "contact_id"
    query_ = urlencode({"customer_id": customer, "user_id": "u", entity: "l", "recording_id": "r"})
    return http("GET", f"{path}?{query_}", headers=bearer(credentials) if credentials is not None else {})


def check_unauthenticated(answer: Answer) -> None:
    assert (answer.status, answer.json) == (401, UNAUTHENTICATED), answer
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "x-http-status" not in answer.headers


def check_forbidden(answer: Answer, message: str = NOT_PERMITTED) -> None:
    assert (answer.status, answer.json) == (403, {"code": 7, "message": message, "details": []}), answer
    assert "www-authenticate" not in answer.headers


BAD = [
    {},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Basic YTpi"},
    {"authorization": "Bearer pk_0000000000000000_00000000000000000000000000000000deadbeef"},
    {"authorization": "Bearer a.b.c"},
    {"authorization": f"Bearer {'a' * 9_000}"},
    {"authorization": f"Bearer {'a' * 60_000}"},
    {"authorization": f"Bearer {'a' * 100_000}"},
    {
        "x-api-key": "sk",
        "x-user": "root",
        "x-forwarded-user": "root",
        "x-caller": "anyone",
        "cookie": "authorization=x",
    },
]


@pytest.mark.parametrize("headers", BAD, ids=lambda headers: str(headers)[:60])
def test_no_route_is_answered_without_credentials(http: Http, headers: dict[str, str]) -> None:
    for path in CREATES:
        check_unauthenticated(http.post(path, lead("c"), headers))
        check_unauthenticated(http.post(path, None, headers))
        check_unauthenticated(http.post(path, b"x" * 20_000, headers))
        check_unauthenticated(http.post(path, gzip.compress(b"x"), {**headers, "content-encoding": "gzip"}))
        check_unauthenticated(http.post(path, b"", {**headers, "content-encoding": "nonsense"}))
    check_unauthenticated(http.post(BATCH, batch("c"), headers))
    check_unauthenticated(http.post(BATCH, None, headers))
    for path in SEARCHES:
        check_unauthenticated(http("GET", path, headers=headers))
        check_unauthenticated(http("GET", f"{path}?customer_id=c", b"{}", headers))


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/lead_analytics",
        "/api//v1/lead_analytics",
        "/%61pi/v1/lead_analytics",
        "/x/../api/v1/lead_analytics",
        "/api/v1/./lead_analytics",
        "/api/v1/lead_analytics?",
        "/api/v1/lead_analytics?x=1",
        "/api/v1/lead_analytics?key=",
        "/api/v1/lead_analytics?key=pk_1",
        "/api/v1/lead_analytics?key=sk_1&key=pk_1",
        "/api/v1/analytics_events%3Abatch",
        "/api/v1/analytics_events%3abatch",
        "/api/v1/%61nalytics_events:batch",
    ],
)
def test_no_spelling_of_a_path_is_answered_without_credentials(http: Http, path: str) -> None:
    answer = http.post(path, lead("c"))
    assert answer.status in (401, 404), answer
    if answer.status == 401:
        check_unauthenticated(answer)


def test_a_create_is_refused_before_its_body_is_sent(guarded: Stack) -> None:
    heads = (
        f"POST {LEAD} HTTP/1.1\r\nhost: t\r\ncontent-length: 1000000\r\n\r\n",
        f"POST {BATCH} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\n",
        f"POST {BATCH} HTTP/1.1\r\nhost: t\r\ncontent-encoding: gzip\r\ncontent-length: 1000000\r\n\r\n",
    )
    for head in heads:
        with socket.create_connection(("127.0.0.1", guarded.http_port), timeout=10) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401 Unauthorized\r\n"), head


def test_a_key_does_what_it_is_for_at_its_own_customer_alone(http: Http, url: str, customer: str, other: str) -> None:
    key = make_key(url, "secret", customer)
    check_forbidden(http.post(LEAD, lead(other), bearer(key)))
    theirs = make_key(url, "secret", other)
    assert http.post(LEAD, lead(other, idempotency_key="k"), bearer(theirs)).status == 201
    assert http.post(LEAD, lead(customer), bearer(key)).status == 201
    check_forbidden(http.post(LEAD, lead(other), bearer(key)))
    check_forbidden(http.post(LEAD, lead(other, idempotency_key="k"), bearer(key)))
    check_forbidden(http.post(LEAD, lead(other), {**bearer(key), "idempotency-key": "k"}))
    assert search(http, customer, key).json["meta"]["rowCount"] == 1
    for target in (other, f"no {other}", ""):
        answer = search(http, target, key)
        if target:
            check_forbidden(answer)
        else:
            assert answer.status == 422
    assert (count_events(url, customer), count_events(url, other)) == (1, 1)


def test_a_large_create_is_decided_by_its_event_too(http: Http, url: str, customer: str, other: str) -> None:
    key = make_key(url, "secret", customer)
    large = {"message": "m" * 60_000}
    assert http.post(LEAD, lead(customer, **large), bearer(key)).status == 201
    check_forbidden(http.post(LEAD, lead(other, **large), bearer(key)))
    zipped = gzip.compress(json.dumps(lead(other, **large)).encode())
    check_forbidden(http.post(LEAD, zipped, {**bearer(key), "content-encoding": "gzip"}))


def test_in_a_batch_anothers_event_is_refused_alone(http: Http, url: str, customer: str, other: str) -> None:
    key = make_key(url, "secret", customer)
    answer = http.post(BATCH, batch(customer, other, customer), bearer(key))
    assert answer.status == 200
    assert (answer.json["stored_count"], answer.json["refused_count"]) == (2, 1)
    (violation,) = answer.json["outcomes"][1]["refused"]["violations"]
    assert violation["description"].startswith("PERMISSION_DENIED")
    assert count_events(url, other) == 0


def test_what_two_readers_could_read_differently_crosses_no_customer(
    http: Http, url: str, customer: str, other: str
) -> None:
    key = make_key(url, "secret", customer)
    own, theirs = json.dumps(lead(customer)), json.dumps(lead(other))
    before, behind = f'{{"customer_id":{json.dumps(other)},', f',"customer_id":{json.dumps(other)}}}'
    for body in (before + own[1:], own[:-1] + behind, own + theirs, f"[{own},{theirs}]"):
        assert http.post(LEAD, body.encode(), bearer(key)).status == 422
    escaped = theirs.replace("customer_id", "\\u0063ustomer_id")
    check_forbidden(http.post(LEAD, escaped.encode(), bearer(key)))
    rest = "&user_id=u&lead_id=l&recording_id=r"
    both = f"customer_id={quote(customer)}&%63ustomer_id={quote(other)}"
    assert http("GET", f"{SEARCHES[0]}?{both}{rest}", headers=bearer(key)).status == 422
    check_forbidden(http("GET", f"{SEARCHES[0]}?%63ustomer_id={quote(other)}{rest}", headers=bearer(key)))
    with_body = http("GET", f"{SEARCHES[0]}?customer_id={quote(customer)}{rest}", lead(other), bearer(key))
    assert with_body.status in (413, 422)
    named = {**bearer(key), "customer_id": other, "customer-id": other, "x-customer-id": other}
    check_forbidden(http.post(LEAD, lead(other), named))
    assert count_events(url, other) == 0


def test_customers_are_compared_byte_by_byte(http: Http, url: str, customer: str) -> None:
    own = f"Café {customer}"
    key = make_key(url, "secret", own)
    assert http.post(LEAD, lead(own), bearer(key)).status == 201
    for alike in (f"Cafe\u0301 {customer}", own.upper(), f"{own} ", f"{own}\u200b", f"{own}\u0130"):
        check_forbidden(http.post(LEAD, lead(alike), bearer(key)))
        check_forbidden(search(http, alike, key))


def test_a_publishable_key_may_be_in_the_url_of_a_write_and_nowhere_else(http: Http, url: str, customer: str) -> None:
    key, secret = make_key(url, "publishable", customer), make_key(url, "secret", customer)
    assert http.post(f"{LEAD}?key={key}", lead(customer)).status == 201
    assert http.post(f"{LEAD}?key={key}", lead(customer, message="m" * 20_000)).status == 201
    assert http.post(f"{BATCH}?key={key}", batch(customer)).status == 200
    check_unauthenticated(http.post(f"{LEAD}?key={secret}", lead(customer)))
    check_unauthenticated(http.post(f"{LEAD}?key={key}&key={key}", lead(customer)))
    check_unauthenticated(http.post(f"{LEAD}?key={key}", lead(customer), bearer(key)))
    check_unauthenticated(http.post(f"{LEAD}?%6Bey={key}", lead(customer)))
    check_unauthenticated(http.post(f"{LEAD}?key={key[:-1]}", lead(customer)))
    check_unauthenticated(http("GET", f"{SEARCHES[0]}?customer_id={quote(customer)}&key={key}"))
    assert http.post(f"{LEAD}?key={key}&x=1", lead(customer)).status == 422
    check_forbidden(search(http, customer, key), NO_SCOPE)


def test_two_headers_are_refused(guarded: Stack, url: str, customer: str) -> None:
    key = make_key(url, "secret", customer)
    body = json.dumps(lead(customer))
    header = f"authorization: Bearer {key}\r\n"
    for more in (header * 2, header + "AUTHORIZATION: Basic x\r\n"):
        with socket.create_connection(("127.0.0.1", guarded.http_port), timeout=10) as connection:
            head = f"POST {LEAD} HTTP/1.1\r\nhost: t\r\n{more}content-length: {len(body)}\r\n\r\n{body}"
            connection.sendall(head.encode())
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401 Unauthorized\r\n"), more
    assert count_events(url, customer) == 0


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://app.example.com:8443",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://evil.example/https://app.example.com",
        "https://xapp.example.com",
        "https://APP.example.com",
        "https://app.example.com/",
        "https://app.example.com https://evil.example",
        "*",
    ],
)
def test_only_the_pages_of_a_key_may_use_it(http: Http, url: str, customer: str, origin: str | None) -> None:
    key = make_key(url, "publishable", customer, "--origin", f"{PAGE}/", "--origin", "https://b.example:8443")
    headers = {"origin": origin} if origin is not None else {"referer": f"{PAGE}/page"}
    check_forbidden(http.post(LEAD, lead(customer), {**bearer(key), **headers}), OTHER_ORIGIN)
    check_forbidden(http.post(f"{LEAD}?key={key}", lead(customer), headers), OTHER_ORIGIN)
    for own in (PAGE, "https://b.example:8443"):
        assert http.post(LEAD, lead(customer), {**bearer(key), "origin": own}).status == 201


def test_a_signers_token_writes_for_its_user_alone(
    http: Http, url: str, customer: str, other: str, tmp_path: Path
) -> None:
    signer = make_signer(url, tmp_path, customer)
    headers = bearer(sign(signers_claims("u"), signer))
    assert http.post(LEAD, lead(customer), headers).status == 201
    check_forbidden(http.post(LEAD, lead(customer, user_id="v"), headers))
    check_forbidden(http.post(LEAD, lead(other), headers))
    revoke(url, signer)
    until(lambda: http.post(LEAD, lead(customer), headers).status == 401)


def test_a_token_of_4_kib_works_and_a_larger_one_is_refused(http: Http, url: str, customer: str) -> None:
    many = [customer, *(f"customer-{number:05}" for number in range(180))]
    token = sign(providers_claims(many), "RS256")
    assert 4_096 < len(token) < 8_000
    assert http.post(LEAD, lead(customer), bearer(token)).status == 201
    for size in (2_000, 5_000, 20_000):
        large = sign(providers_claims([customer, *("x" * 40 for _ in range(size // 40 * 4))]), "RS256")
        assert http.post(LEAD, lead(customer), bearer(large)).status in (401, 431)


def test_a_key_over_its_rate_is_refused_with_the_headers_that_say_so(http: Http, url: str, customer: str) -> None:
    key = make_key(url, "publishable", customer, "--events-per-second", "3")
    answers = [http.post(LEAD, lead(customer), bearer(key)) for _ in range(20)]
    assert answers[0].status == 201
    answer = next(each for each in answers if each.status != 201)
    assert (answer.status, answer.json["code"]) == (429, 8)
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit-policy"] == '"events";q=3;w=1, "bytes";q=1048576;w=1'
    assert answer.headers["ratelimit"] == '"events";r=0;t=1'
    assert http.post(BATCH, batch(customer), bearer(key)).status in (200, 429)


def test_native_callers_through_envoy_need_credentials_too(guarded: Stack, url: str, customer: str) -> None:
    key = make_key(url, "secret", customer)
    with grpc.insecure_channel(f"127.0.0.1:{guarded.http_port}") as channel:
        leads = Client(channel).leads
        with refused(grpc.StatusCode.UNAUTHENTICATED) as refusal:
            leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=5)
        assert refusal.trailers["www-authenticate"] == "Bearer"
        metadata = tuple(bearer(key).items())
        assert leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=5, metadata=metadata).sort_key == customer
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            leads.CreateLeadAnalyticsEvent(lead_event(f"not {customer}"), timeout=5, metadata=metadata)
        for name in ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"):
            call: Any = channel.stream_stream(f"/{name}/ServerReflectionInfo")
            with refused(grpc.StatusCode.UNIMPLEMENTED):
                list(call(iter([b""]), timeout=5))


@pytest.mark.timeout(180)
def test_requests_without_credentials_cost_little_memory(guarded: Stack) -> None:
    bomb = gzip.compress(b"0" * (47 << 20))
    head = f"POST {LEAD} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
    requests = [
        f"{head}content-length: 1000000\r\n\r\n".encode() + b"x" * 100_000,
        f"{head}content-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n".encode() + bomb,
    ]
    before = _read_memory(guarded)
    for number in range(10_000):
        with socket.create_connection(("127.0.0.1", guarded.http_port), timeout=20) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(requests[number % 2])
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1 << 12).startswith(b"HTTP/1.1 401 ")
    until(lambda: _read_memory(guarded) < before + (50 << 10))


def _read_memory(stack: Stack) -> int:
    """Return the KiB that Envoy and the workers have in memory."""
    pids = [*stack.numbers_of("server-1"), stack.number_of("envoy")]
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_no_credential_is_in_a_log_or_on_envoys_admin_pages(
    http: Http, guarded: Stack, url: str, customer: str
) -> None:
    keys = [make_key(url, kind, customer) for kind in ("publishable", "secret")]
    for key in keys:
        http.post(LEAD, lead(customer), bearer(key))
        http.post(f"{LEAD}?key={key}", b"{", bearer(key))
        http.post(LEAD, lead("another"), bearer(key))
        http.post(LEAD, lead(customer), bearer(key[:-1]))
    token = sign(signers_claims("u"), "signer_0000000000000000")
    http.post(LEAD, lead(customer), bearer(token))
    time.sleep(1)  # Longer than Envoy keeps a line to itself.
    admin: EnvoyAdmin = guarded.admin
    shown = guarded.log + guarded.output + admin.read("/stats") + admin.read("/config_dump")
    for secret in (*[key.split("_")[2][:-8] for key in keys], token.rpartition(".")[2]):
        assert secret not in shown
    assert '"rpc"' in guarded.log  # The level is DEBUG.


def test_the_banner_and_the_log_say_that_credentials_are_needed(guarded: Stack) -> None:
    assert "on: callers need a key or token" in guarded.output
    assert '"auth": "on"' in guarded.log or '"auth":"on"' in guarded.log


def test_an_open_address_without_credentials_is_refused_unless_it_is_said(tmp_path: Path) -> None:
    with running(tmp_path / "open", BIND_ADDRESS="0.0.0.0", PLAINTEXT="on") as stack:
        assert stack.wait_for_end() == 2
        assert "BIND_ADDRESS=0.0.0.0 is open to others" in stack.log


def test_health_needs_no_credentials_and_metrics_can_be_off(guarded: Stack, http: Http) -> None:
    assert [http("GET", path).status for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 404]
    assert "  Metrics             off\n" in guarded.output
    socket_mode = (guarded.run / "metrics.sock").stat().st_mode
    assert socket_mode & 0o777 == 0o600
