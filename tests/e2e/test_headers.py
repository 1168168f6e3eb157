"""Callers who pretend, through the real Envoy: no header and no path gives them what is not theirs."""

from typing import Any
from urllib.parse import urlencode

import grpc
import pytest
from google.api.annotations_pb2 import http as http_rule
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.support.http import Answer, Http, violations
from tests.support.processes import ROOT
from tests.support.stack import Stack

LEAD = "/api/v1/lead_analytics"
BATCH = "/api/v1/analytics_events:batch"
SEARCH = "/api/v1/lead_analytics/search"
GOOD = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
COMMON = ("customer_id", "user_id", "recording_id", "event_type")
ORDINARY = {"content-type", "content-length", "date", "x-request-id"}


def find_http_rpcs() -> list[str]:
    """Return the paths of the RPCs that only Envoy may call."""
    files = FileDescriptorSet.FromString((ROOT / "generated" / "envoy.binpb").read_bytes()).file
    return [
        f"/{file.package}.{service.name}/{method.name}"
        for file in files
        for service in file.service
        for method in service.method
        if method.options.HasExtension(http_rule)
    ]


HTTP_RPCS = find_http_rpcs()


def test_each_route_has_an_rpc_of_its_own_package() -> None:
    assert len(HTTP_RPCS) == 17
    assert all(path.startswith("/data_analytics.v1.http.") for path in HTTP_RPCS)


@pytest.mark.parametrize("path", [*HTTP_RPCS, "/data_analytics.v1.http.LeadAnalyticsService/Nothing"])
def test_a_grpc_caller_cannot_call_the_rpcs_for_json(stack: Stack, path: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{stack.http_port}") as channel:
        spellings = (path, path.replace(".http.", "%2Ehttp%2E"), "/" + path, path.replace("/data", "/x/../data"))
        for spelling in spellings:
            call: Any = channel.unary_unary(spelling)
            with pytest.raises(grpc.RpcError) as caught:
                call(HttpBody(content_type="application/json", data=b"{}").SerializeToString(), timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED, spelling


def test_an_http_caller_cannot_call_an_rpc_by_its_path(http: Http) -> None:
    for path in (*HTTP_RPCS, *(path.replace(".http.", ".") for path in HTTP_RPCS)):
        answer = http.post(path, GOOD)
        assert (answer.status, answer.json["code"]) == (404, 5)
    # As gRPC, the path of a route is an unknown service.
    answer = http.post(LEAD, GOOD, {"content-type": "application/grpc"})
    assert (answer.status, answer.headers["grpc-status"], answer.body) == (200, "12", b"")


PRETENDED = [
    *(("x-http-status", "200"), ("x-http-status", "500"), ("x-http-status", ""), ("grpc-timeout", "1n")),
    *(("grpc-timeout", "nonsense"), ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "br"), ("grpc-status", "5")),
    *(("grpc-message", "m"), ("grpc-status-details-bin", "!!!"), ("grpc-previous-rpc-attempts", "9")),
    *(("foo-bin", "!!!"), ("foo-bin", "AAAA"), ("-bin", "="), ("idempotency-key-bin", "aw==")),
    ("x-envoy-original-path", f"{SEARCH}?customer_id=other&user_id=u&lead_id=l&recording_id=r&page=0"),
    *(("x-envoy-original-path", "/?unknown=1"), ("x-envoy-original-method", "DELETE"), ("x-envoy-original-host", "a")),
    *(("x-envoy-upstream-rq-timeout-ms", "1"), ("x-envoy-max-retries", "9"), ("x-envoy-retry-on", "5xx")),
    *(("x-envoy-force-trace", "true"), ("x-original-url", "/"), ("x-rewrite-url", "/"), ("x-forwarded-for", "::1")),
    *(("x-http-method-override", "DELETE"), ("x-method-override", "GET"), ("x-forwarded-proto", "gopher")),
    *(("content-type", "text/plain"), ("content-type", "application/json; charset=utf-16"), ("content-type", "")),
    *(("content-type", "application/grpc-web+proto"), ("content-type", "application/x-protobuf"), ("te", "trailers")),
    # Names that HTTP allows and gRPC does not.
    *((name, "z") for name in ("x|y", "x'y", "+", "~", "x#", "$x", "%41", "x&y", "!", "x*", "x^y", "`")),
    *(("accept", "application/xml"), ("accept-encoding", "br"), ("expect", "nothing"), ("traceparent", "00-")),
    *(("cookie", "c" * 20_000), ("user-agent", "M\u00fcller"), ("x-name", "\xff\xfe\t"), ("x.y", "z")),
]


@pytest.mark.parametrize(("name", "value"), PRETENDED, ids=[f"{name}: {value[:20]!a}" for name, value in PRETENDED])
def test_a_header_of_a_caller_changes_nothing(http: Http, customer: str, name: str, value: str) -> None:
    def check(answer: Answer, status: int, *others: str) -> Any:
        assert (answer.status, answer.headers.keys() - ORDINARY) == (status, set(others)), answer
        return answer.json

    headers = {name: value}
    event = {**GOOD, "customer_id": customer}
    for _ in range(3):
        assert check(http.post(LEAD, event, headers), 201)["customer_id"] == customer
    refused = http.post(LEAD, {**event, "user_id": 5}, headers)
    check(refused, 422)
    assert violations(refused) == {"user_id": "must be a string"}
    of_either_kind = {**{field: event[field] for field in COMMON}, "entity_type": "lead", "entity_id": "l"}
    assert check(http.post(BATCH, {"events": [of_either_kind, {}]}, headers), 200)["stored_count"] == 1
    asked = urlencode({"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r", "page": 2})
    # A page is sent in parts, and Envoy may compress it.
    found = check(http("GET", f"{SEARCH}?{asked}", headers=headers), 200, "transfer-encoding", "vary")
    assert found["meta"] == {"page": 2, "pageSize": 10, "rowCount": 4}


@pytest.mark.parametrize("size", [300, 9_000, 20_000, 150_000])
def test_huge_texts_are_refused_by_their_field(http: Http, size: int) -> None:
    # gRPC itself refuses metadata that is too large, in its own words: none of these may get that far.
    huge = "h" * size
    assert set(violations(http.post(LEAD, {}, {"idempotency-key": huge}))) >= {"idempotency-key", "customer_id"}
    for name in ("host", "expect", "te", "x-forwarded-for", "accept-encoding", "x-" + huge[:20_000]):
        value = f"{huge}.localhost" if name == "host" else huge
        assert http.post(LEAD, GOOD, {name: value}).status == 201, name
    assert violations(http.post(f"{LEAD}?{huge}", GOOD))
    assert violations(http("GET", f"{SEARCH}?{huge}=1"))
    assert set(violations(http.search(SEARCH, customer_id=huge, user_id="u", lead_id="l", recording_id="r"))) == {
        "customer_id"
    }
    assert http.search(SEARCH, customer_id="c", user_id="u", lead_id="l", recording_id=huge[:255]).status == 200
