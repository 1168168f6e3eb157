"""What `make generate` derives from the protos: the descriptor sets and the OpenAPI document agree with each other."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.api.annotations_pb2 import http
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

from server.messages.json_codec.body import ENCODINGS
from tests.support.processes import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "generated" / "openapi.json").read_text())
OPERATIONS = [(path, verb) for path, verbs in DOCUMENT["paths"].items() for verb in verbs]
CREATES = ["CreateAnalyticsEventRequest", "CreateContactAnalyticsEventRequest", "CreateLeadAnalyticsEventRequest"]


def read_methods(name: str) -> dict[str, MethodDescriptorProto]:
    """Return the methods of a descriptor set by their full names."""
    files = FileDescriptorSet.FromString((ROOT / "generated" / name).read_bytes()).file
    return {
        f"{file.package}.{service.name}.{method.name}": method
        for file in files
        for service in file.service
        for method in service.method
    }


TYPED, FOR_ENVOY = read_methods("analytics.binpb"), read_methods("envoy.binpb")


def read_routes(method: MethodDescriptorProto) -> Iterator[tuple[str, str, str]]:
    """Yield the verb, the path and the body of each binding of a method."""
    rule = method.options.Extensions[http]
    for each in (rule, *rule.additional_bindings):
        verb = each.WhichOneof("pattern")
        yield verb, getattr(each, verb), each.body


def test_our_envoy_has_the_routes_of_the_typed_services() -> None:
    routed = {name: method for name, method in TYPED.items() if method.options.HasExtension(http)}
    expected = {}
    for name, method in routed.items():
        verb, path, _ = next(read_routes(method))
        is_batch, is_search, is_small = path.endswith(":batch"), verb == "get", path.endswith(":erase")
        if not is_batch:
            expected[name.replace(".v1.", ".v1.http.")] = (name, False, is_search)
        if not is_search and not is_small:
            expected[name.replace(".v1.", ".v1.http.upload.")] = (name, True, False)
    assert expected.keys() == FOR_ENVOY.keys()
    for name, (typed, takes_parts, gives_parts) in expected.items():
        method = FOR_ENVOY[name]
        assert (method.client_streaming, method.server_streaming) == (takes_parts, gives_parts)
        routes = [(verb, re.sub(r"\{\w+\}", "*", path), body) for verb, path, body in read_routes(routed[typed])]
        for_envoy = list(read_routes(method))
        assert for_envoy[: len(routes)] == routes
        assert sorted(path.lower().replace("%3a", ":") for _, path, _ in for_envoy[len(routes) :]) == sorted(
            2 * [path for _, path, _ in routes if ":" in path]
        )


def test_events_have_a_route_that_no_blocker_of_analytics_names() -> None:
    for rpc, suffix in (("CreateAnalyticsEvent", ""), ("BatchCreateAnalyticsEvents", ":batch")):
        routes = read_routes(TYPED[f"data_analytics.v1.AnalyticsEventService.{rpc}"])
        assert [path for _, path, _ in routes] == [f"/api/v1/{name}{suffix}" for name in ("analytics_events", "events")]


def test_our_envoy_carries_bytes_and_other_gateways_messages() -> None:
    for method in FOR_ENVOY.values():
        assert (method.input_type, method.output_type) == (".google.api.HttpBody", ".google.api.HttpBody")
    for method in TYPED.values():
        assert method.input_type.startswith(".data_analytics.v1.")
        assert method.output_type.startswith(".data_analytics.v1.")


def test_the_document_has_the_routes_of_the_protos() -> None:
    methods = [method for method in TYPED.values() if method.options.HasExtension(http)]
    assert {(path, verb) for method in methods for verb, path, _ in read_routes(method)} == set(OPERATIONS)


def find_objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema of an object with known properties."""
    if isinstance(schema, dict):
        if "properties" in schema and "type" in schema:
            yield schema
        for each in schema.values():
            yield from find_objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from find_objects(each)


def test_no_object_of_the_document_has_other_fields() -> None:
    objects = list(find_objects(DOCUMENT["components"]["schemas"]))
    assert len(objects) > 15
    assert [schema for schema in objects if schema["additionalProperties"] is not False] == []


@pytest.mark.parametrize("name", CREATES)
def test_every_create_documents_its_key_and_its_limits(name: str) -> None:
    fields = DOCUMENT["components"]["schemas"][name]["properties"]
    assert fields["idempotency_key"]["maxLength"] == 255
    for rule in ("16 KiB", "30 levels", "100 digits"):
        assert rule in fields["version_info"]["description"]


def test_the_events_of_a_batch_are_documented_as_a_create_is() -> None:
    events = DOCUMENT["components"]["schemas"]["BatchCreateAnalyticsEventsRequest"]["properties"]["events"]
    assert events["items"] == {"$ref": "#/components/schemas/CreateAnalyticsEventRequest"}


@pytest.mark.parametrize(("path", "verb"), OPERATIONS)
def test_every_route_documents_its_headers_and_refusals(path: str, verb: str) -> None:
    operation = DOCUMENT["paths"][path][verb]
    (success,) = [status for status in operation["responses"] if status.startswith("2")]
    is_create, has_body = success == "201", verb == "post"
    headers = {each["name"]: each["schema"] for each in operation["parameters"] if each["in"] == "header"}
    assert ("Content-Encoding" in headers, "Idempotency-Key" in headers) == (has_body, is_create)
    assert "X-Ignored-Fields" in operation["responses"][success]["headers"]
    assert {"403", "408", "413", "422", "426", "429", "431", "500", "503", "504"} <= operation["responses"].keys()
    assert ("409" in operation["responses"], "415" in operation["responses"]) == (is_create, has_body)
    assert ("404" in operation["responses"]) == ("{" in path)
    if has_body:
        assert headers["Content-Encoding"]["enum"] == list(ENCODINGS)
        accepted = operation["responses"]["415"]["headers"]["Accept-Encoding"]
        assert (accepted["required"], accepted["schema"]["const"]) == (True, ", ".join(ENCODINGS))
