"""The metrics of the running stack, with two workers: one scrape, what it tells, and which alerts it sets off."""

import contextlib
import json
import os
import re
import signal
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psycopg2
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest, WriteAnalyticsEventsRequest
from tests.support import requests
from tests.support.http import Http
from tests.support.in_process import Client
from tests.support.markdown import read
from tests.support.prometheus import DASHBOARD, RULES, Samples, ask_socket, find_firing, parse, scrape, to_series, total
from tests.support.stack import SEARCH, Stack
from tests.support.until import until

EVENT = {"customer_id": "c", "user_id": "u", "lead_id": "l", "recording_id": "r", "event_type": "v"}
CREATE = "/api/v1/lead_analytics"
CALLS = "rpc_server_call_duration_seconds_count"
LEADS = "data_analytics.v1.LeadAnalyticsService"

# What Prometheus has of every target.
_OF_PROMETHEUS = {"up", "ALERTS"}
_NAME = re.compile(r"\b(up|(?:analytics|rpc_server|process|envoy)_\w+)\b(?=[{\s)\[]|$)")
_LABEL = re.compile(r'(\w+)(?:=~|!=|!~|=)"')
_GROUP = re.compile(r"\b(?:by|on|ignoring) \(([^)]*)\)")


@pytest.fixture(scope="module")
def gone_through(stack: Stack, http: Http) -> tuple[Samples, Samples]:
    """Return what is scraped before and after each kind of thing has happened to a worker."""
    before = scrape(stack.metrics_port)
    customer = f"customer {uuid.uuid4()}"
    event = {**EVENT, "customer_id": customer}
    for _ in range(3):
        assert http.post(CREATE, event, {"idempotency-key": "k"}).status == 201
    assert http.post(CREATE, {**event, "lead_id": ""}).status == 422
    bad = {**event, "entity_id": "e", "entity_type": "lead", "color": "red"}
    del bad["lead_id"]
    good = {name: value for name, value in bad.items() if name != "color"}
    assert http.post("/api/v1/analytics_events:batch", {"events": [good, bad, good]}).status == 200
    assert http("GET", SEARCH).status == 200
    assert http("GET", "/api/v1/analytics_events?customer_id=c").status == 200
    assert http("GET", "/api/v1/analytics_events/none?customer_id=c").status == 422
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_ports[1]}") as channel:
        client = Client(channel)
        client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=10)
        with pytest.raises(grpc.RpcError):
            client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(), timeout=10)
        list(
            client.events.WriteAnalyticsEvents(
                iter([WriteAnalyticsEventsRequest(events=[requests.analytics_event(customer)])])
            )
        )
    return before, scrape(stack.metrics_port)


def workers(stack: Stack) -> list[str]:
    return [str(port) for port in stack.grpc_ports]


def test_one_scrape_tells_of_all_workers_and_all_that_happened(
    stack: Stack, gone_through: tuple[Samples, Samples]
) -> None:
    first, second = workers(stack)
    before, after = gone_through

    def count(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert [total(after, "analytics_worker_up", worker=each) for each in (first, second)] == [1, 1]
    assert total(after, "analytics_ready") == total(after, "analytics_database_up") == 2
    create = {"rpc_method": f"{LEADS}/CreateLeadAnalyticsEvent"}
    assert count(CALLS, worker=first, door="json", rpc_response_status_code="OK", **create) == 3
    assert count(CALLS, worker=first, door="json", rpc_response_status_code="INVALID_ARGUMENT", **create) == 1
    assert count(CALLS, worker=second, door="grpc", rpc_response_status_code="OK", **create) == 1
    assert count(CALLS, rpc_method=f"{LEADS}/SearchLeadAnalyticsEvents", rpc_response_status_code="OK") == 1
    assert count(CALLS, rpc_method="data_analytics.v1.AnalyticsEventService/WriteAnalyticsEvents") == 1
    assert count("analytics_events_stored_total", worker=first, lane="creates") == 1
    assert count("analytics_events_stored_total", worker=first, lane="batches") == 2
    assert count("analytics_events_stored_total", worker=second, lane="batches") == 1
    assert count("analytics_events_replayed_total") == 2
    assert count("analytics_events_refused_total", door="json", rule="required") == 1
    assert count("analytics_events_refused_total", door="json", rule="unknown_field") == 1
    assert count("analytics_events_failed_total") == 0
    assert count("analytics_calls_failed_total", door="grpc", cause="invalid_request") == 1
    assert count("analytics_commit_events_count", worker=first, lane="creates") == 3
    assert count("analytics_commit_events_sum", worker=first, lane="batches") == 2
    assert count("analytics_commit_bytes_sum", worker=first, lane="creates") > 200
    assert total(after, "analytics_postgres_table_bytes", table="analytics_event") >= 8192
    assert total(after, "analytics_postgres_connections") >= 8
    assert 20 << 20 < total(after, "process_resident_memory_bytes", worker=first) < 1 << 30


def test_whatever_dashboard_and_alerts_name_is_in_a_scrape(stack: Stack, gone_through: tuple[Samples, Samples]) -> None:
    live = [*gone_through[1], *scrape(stack.metrics_port, "/metrics/envoy")]
    names = {name for name, _ in live}
    labels = {label for _, pairs in live for label, _ in pairs} | {"job", "instance", "le"}
    dashboard: Any = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += re.findall(r"expr: >-\n +(.+)", RULES.read_text())
    assert len(expressions) > 80
    for expression in expressions:
        found = set(_NAME.findall(_GROUP.sub("", expression)))
        assert found
        assert found - _OF_PROMETHEUS <= names, expression
        grouped = {label.strip() for group in _GROUP.findall(expression) for label in group.split(",")}
        assert grouped | set(_LABEL.findall(expression)) <= labels, expression


def test_every_metric_is_documented_and_in_the_dashboard(gone_through: tuple[Samples, Samples]) -> None:
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in gone_through[1]}
    documented = set(re.findall(r"^\| `(\w+)`", read("docs/metrics.md"), re.MULTILINE))
    assert names == documented
    shown = DASHBOARD.read_text() + RULES.read_text()
    assert {name for name in names if name not in shown} == set()


def test_no_label_holds_anything_that_a_caller_sent(stack: Stack, http: Http, customer: str) -> None:
    secret = "secretsecret"
    event = {"customer_id": secret, "user_id": secret, "lead_id": secret, "recording_id": secret, "event_type": secret}
    http.post(CREATE, event)
    http.post(CREATE, {**event, secret: secret})
    http("GET", f"/api/v1/{secret}")
    http("GET", f"{SEARCH}&{secret}={secret}")
    for path in ("/metrics", "/metrics/envoy"):
        text = Http(stack.metrics_port)("GET", path).body.decode()
        assert secret not in text
        assert customer not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/metrics", 200),
        ("HEAD", "/metrics/envoy", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("HEAD", "/readyz", 200),
        ("POST", "/metrics", 404),
        ("POST", "/metrics/envoy", 404),
        ("GET", "/metrics/envoy?filter=(a%2B)%2B", 404),
        ("GET", "/metrics/envoy/../../quitquitquit", 404),
        ("GET", "/metrics/envoyx", 404),
        ("POST", "/quitquitquit", 404),
        ("GET", "/config_dump", 404),
        ("GET", "/metrics/worker", 404),
        ("GET", "/api/v1/analytics_events?customer_id=c", 404),
    ],
)
def test_the_port_shows_metrics_and_nothing_else(stack: Stack, method: str, path: str, status: int) -> None:
    assert Http(stack.metrics_port)(method, path).status == status


def test_the_public_port_shows_health_and_no_metrics(http: Http) -> None:
    for path, text in (("/healthz", b"ok\n"), ("/readyz", b"")):
        assert (http("GET", path).status, http("GET", path).body) == (200, text)
        assert (http("HEAD", path).status, http("HEAD", path).body) == (200, b"")
        refused = http.post(path, {})
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    assert http("GET", "/metrics").status == http("GET", "/metrics/envoy").status == 404


def test_the_metrics_are_on_loopback_alone(stack: Stack) -> None:
    host = socket.gethostbyname(socket.gethostname())
    if host.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, stack.metrics_port), 5).close()


def test_refused_events_set_off_their_alert(stack: Stack, http: Http, tmp_path: Path) -> None:
    before = scrape(stack.metrics_port)
    for _ in range(30):
        http.post(CREATE, {"customer_id": "c"})
    http.post(CREATE, EVENT)
    series = to_series(before, scrape(stack.metrics_port))
    assert find_firing(tmp_path, {"refused": series})["refused"] == {"AnalyticsEventsRefused"}


def test_a_locked_table_sets_off_the_alerts_of_the_queue(stack: Stack, http: Http, tmp_path: Path) -> None:
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, ThreadPoolExecutor(8) as callers:
        connection.cursor().execute("LOCK TABLE analytics_event IN ACCESS EXCLUSIVE MODE")
        answers = [callers.submit(http.post, CREATE, EVENT)]
        # Those that come while its commit waits for the table wait for the next one.
        until(lambda: total(scrape(stack.metrics_port), "analytics_commit_in_flight_seconds"))
        answers += [callers.submit(http.post, CREATE, EVENT) for _ in range(7)]
        queue = "analytics_write_queue_oldest_seconds"
        samples = until(lambda: total(found := scrape(stack.metrics_port), queue) > 2 and found)
        connection.rollback()
        assert {answer.result().status for answer in answers} == {201}
    assert samples
    fired = find_firing(tmp_path, {"locked": to_series(samples)})["locked"]
    assert fired >= {"AnalyticsWriteQueueSlow", "AnalyticsCommitHangs"}


def test_a_database_that_takes_no_events_sets_off_its_alerts(stack: Stack, http: Http, tmp_path: Path) -> None:
    before = scrape(stack.metrics_port)
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("REVOKE INSERT ON analytics_event FROM analytics_server")
        try:
            until(lambda: http("GET", "/readyz").status == 503)
            assert http.post(CREATE, {}).status == 503
            assert http("GET", "/healthz").status == 200
            after = scrape(stack.metrics_port)
            envoy = scrape(stack.metrics_port, "/metrics/envoy")
        finally:
            cursor.execute("GRANT INSERT ON analytics_event TO analytics_server")
    until(lambda: http("GET", "/readyz").status == 200)
    series = to_series(before, after) | to_series(envoy, job="analytics-envoy")
    fired = find_firing(tmp_path, {"away": series})["away"]
    assert fired >= {"AnalyticsDatabaseUnavailable", "AnalyticsNotReady", "AnalyticsNoHealthyWorker"}


def test_a_worker_that_hangs_is_told_of_and_a_dead_one_is_gone(stack: Stack, tmp_path: Path) -> None:
    first, second = workers(stack)
    hanging = stack.number_of("server-1")
    with _stopped(hanging):
        samples = scrape(stack.metrics_port)
        assert total(samples, "analytics_worker_up", worker=first) == 0
        assert total(samples, "analytics_worker_up", worker=second) == 1
        assert total(samples, "process_open_fds", worker=first) == 0
    assert "AnalyticsWorkerHangs" in find_firing(tmp_path, {"hangs": to_series(samples)})["hangs"]
    until(lambda: stack.ask_envoy("/stats?filter=cluster.writes.membership_healthy").strip().endswith("2"))
    # The socket of one that was killed stays, and nobody listens on it.
    path = stack.run / "1.prom"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    try:
        samples = scrape(stack.metrics_port)
    finally:
        path.unlink()
    assert {dict(labels)["worker"] for name, labels in samples if name == "analytics_worker_up"} == {first, second}


def test_a_worker_shows_its_own_metrics_to_its_account(stack: Stack) -> None:
    first, _ = workers(stack)
    path = stack.run / f"{first}.prom"
    assert path.stat().st_mode & 0o777 == 0o600

    def ask(request: bytes) -> tuple[int, str]:
        return ask_socket(path, request)

    status, body = ask(b"GET /metrics/worker HTTP/1.1\r\nhost: w\r\n\r\n")
    assert status == 200
    assert {dict(labels)["worker"] for _, labels in parse(body)} == {first}
    assert ask(b"HEAD /metrics HTTP/1.1\r\n\r\n") == (200, "")
    assert ask(b"GET /readyz HTTP/1.1\r\n\r\n")[0] == ask(b"GET /healthz HTTP/1.1\r\n\r\n")[0] == 200
    assert ask(b"GET /x HTTP/1.1\r\n\r\n")[0] == 404
    assert ask(b"PUT /metrics HTTP/1.1\r\n\r\n")[0] == 405
    for malformed in (b"\r\n\r\n", b"\x16\x03\x01\0\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics " + 20_000 * b"x"):
        assert ask(malformed)[0] == 0
    assert ask(b"GET /healthz HTTP/1.1\r\n\r\n")[0] == 200


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
