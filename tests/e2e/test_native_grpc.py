"""Native gRPC, directly and through Envoy's HTTP port: the same answers, untouched."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest

from tests.support import requests
from tests.support.in_process import Client
from tests.support.refusals import refused
from tests.support.stack import Stack

SERVICES = {
    "data_analytics.v1.AnalyticsEventService",
    "data_analytics.v1.LeadAnalyticsService",
    "data_analytics.v1.ContactAnalyticsService",
}


def test_a_refusal_keeps_its_grpc_status_and_its_proto_names(client: Client, customer: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer, page=0, page_size=0), timeout=5)
    assert set(refusal.violations) == {"page", "page_size"}
    assert refusal.error.details() == "invalid request: page, page_size"


def test_an_unknown_rpc_is_unimplemented(client: Client) -> None:
    for method in ("/data_analytics.v1.LeadAnalyticsService/Nothing", "/data_analytics.v2.Nothing/Nothing"):
        call: Any = client.channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "{" not in (caught.value.details() or "")


def test_a_request_over_a_mebibyte_is_resource_exhausted(client: Client, customer: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer, message="m" * (1 << 20)), timeout=5)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_server_and_each_service_report_their_health(client: Client) -> None:
    for service in ("", *SERVICES):
        answer = client.health.Check(HealthCheckRequest(service=service), timeout=5)
        assert answer.status == answer.SERVING


@pytest.fixture(params=["grpc_port", "http_port"])
def port(stack: Stack, request: pytest.FixtureRequest) -> int:
    found: int = getattr(stack, request.param)
    return found


def run_grpcurl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = str(Path(sys.executable).parent / "grpcurl")
    return subprocess.run([program, "-plaintext", *arguments], capture_output=True, text=True, timeout=20, check=False)


def test_grpcurl_lists_and_describes_the_services_with_no_proto_files(port: int) -> None:
    listed = run_grpcurl(f"localhost:{port}", "list")
    assert SERVICES | {"grpc.health.v1.Health"} <= set(listed.stdout.split())
    described = run_grpcurl(f"localhost:{port}", "describe", "data_analytics.v1.CreateLeadAnalyticsEventRequest")
    assert "string customer_id = 1" in described.stdout


def test_grpcurl_stores_an_event_and_finds_it(port: int, customer: str) -> None:
    event = {"customer_id": customer, "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
    stored = run_grpcurl(
        "-d", json.dumps(event), f"localhost:{port}", "data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
    )
    assert json.loads(stored.stdout)["lead_id"] == "l"
    del event["event_type"]
    found = run_grpcurl(
        "-d", json.dumps(event), f"localhost:{port}", "data_analytics.v1.LeadAnalyticsService/SearchLeadAnalyticsEvents"
    )
    assert json.loads(found.stdout)["meta"] == {"page": 1, "pageSize": 10, "rowCount": 1}


def test_grpcurl_shows_what_is_wrong_with_a_request(port: int) -> None:
    refusal = run_grpcurl(
        "-d", "{}", f"localhost:{port}", "data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
    )
    assert refusal.returncode != 0
    assert "InvalidArgument" in refusal.stderr
    assert "google.rpc.BadRequest" in refusal.stderr
