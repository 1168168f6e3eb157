"""The documented JSON, through the real Envoy: routes, keys, types, statuses."""

import re
from typing import Any

import pytest

from tests.support import requests
from tests.support.http import Http
from tests.support.in_process import Client

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

COMMON = {
    "user_id": "user",
    "tool_signature": "vfp",
    "recording_id": "recording",
    "event_type": "view",
    "event_id": "event",
    "message": "a message",
}
KEPT_ONLY = {
    "javascript_local_time": "local",
    "apex_local_time": "local",
    "event_environment_path": "/path",
    "name_parser_event_id": "parser",
    "recommendation_model_event_id": "model",
    "version_info": {"key": "value"},
}


def check_created(body: Any, customer: str, kind: str, label: str, entity: dict[str, str]) -> None:
    """Check the exact keys and values of the answer to a create."""
    made = {name: body.pop(name) for name in ("partitionKey", "created_at", "updated_at")}
    assert body == {**COMMON, **entity, "customer_id": customer, "entityType": kind, "sortKey": customer}
    assert re.fullmatch(rf"{label}\|{ID}", made["partitionKey"])
    assert TIME.fullmatch(made["created_at"])
    assert made["updated_at"] == made["created_at"]


def test_a_lead_event_is_created(http: Http, customer: str) -> None:
    answer = http.post("/api/v1/lead_analytics", {"customer_id": customer, "lead_id": "l1", **COMMON, **KEPT_ONLY})
    assert answer.status == 201
    assert len(answer.json) == 13
    check_created(answer.json, customer, "lead_analytics_event", "Lead analytics event", {"lead_id": "l1"})


def test_a_contact_event_is_created(http: Http, customer: str) -> None:
    answer = http.post(
        "/api/v1/contact_analytics", {"customer_id": customer, "contact_id": "c1", **COMMON, **KEPT_ONLY}
    )
    assert answer.status == 201
    assert len(answer.json) == 13
    check_created(answer.json, customer, "contact_analytics_event", "Contact analytics event", {"contact_id": "c1"})


@pytest.mark.parametrize("entity_type", ["lead", "contact"])
def test_an_analytics_event_is_created(http: Http, customer: str, entity_type: str) -> None:
    entity = {"entity_id": "e1", "entity_type": entity_type}
    answer = http.post("/api/v1/analytics_events", {"customer_id": customer, **entity, **COMMON, **KEPT_ONLY})
    assert answer.status == 201
    check_created(answer.json, customer, "analytics_event", "Analytics event", entity)


def test_the_browser_extension_names_a_lead_by_entity_id(http: Http, customer: str) -> None:
    event = {"customer_id": customer, "entity_id": "l1", **COMMON, **KEPT_ONLY}
    answer = http.post("/api/v1/lead_analytics", {**event, "tool_signature": "browser_extension"})
    assert answer.status == 201
    assert answer.json["lead_id"] == "l1"
    assert "entity_id" not in answer.json


def test_strings_that_were_not_sent_are_printed_empty(http: Http, customer: str) -> None:
    required = {"user_id": "u", "recording_id": "r", "event_type": "view"}
    body = http.post("/api/v1/lead_analytics", {"customer_id": customer, "lead_id": "l", **required}).json
    assert (body["tool_signature"], body["event_id"], body["message"]) == ("", "", "")


def test_no_header_of_grpc_leaks_into_a_json_answer(http: Http, customer: str) -> None:
    stored = http.post("/api/v1/lead_analytics", {"customer_id": customer, "lead_id": "l1", **COMMON})
    refused = http.post("/api/v1/lead_analytics", {})
    missing = http("GET", "/nowhere")
    for answer in (stored, refused, missing):
        leaks = [name for name in answer.headers if name.startswith(("grpc", "x-envoy", "x-from"))]
        assert not leaks
        assert "trailer" not in answer.headers


def store_events(http: Http, customer: str, count: int) -> None:
    for number in range(count):
        event = {**COMMON, "customer_id": customer, "lead_id": "l1", "recording_id": "ab"[number % 2]}
        assert http.post("/api/v1/lead_analytics", {**event, "event_id": str(number)}).status == 201


def test_a_search_returns_records_of_eleven_keys_and_their_count(http: Http, customer: str) -> None:
    store_events(http, customer, 3)
    search = {"customer_id": customer, "user_id": "user", "lead_id": "l1", "recording_id": ["a", "b"]}
    answer = http.search("/api/v1/lead_analytics/search", **search)
    assert answer.status == 200
    assert set(answer.json) == {"recordings", "meta"}
    assert answer.json["meta"] == {"page": 1, "pageSize": 10, "rowCount": 3}
    record = answer.json["recordings"][0]
    assert TIME.fullmatch(record.pop("created_at"))
    assert TIME.fullmatch(record.pop("updated_at"))
    assert record == {
        **COMMON,
        "customer_id": customer,
        "entity_type": "lead",
        "entity_id": "l1",
        "recording_id": "a",
        "event_id": "2",
    }


def test_a_search_without_a_match_returns_an_empty_list(http: Http, customer: str) -> None:
    search = {"customer_id": customer, "user_id": "u", "contact_id": "c", "recording_id": "r"}
    answer = http.search("/api/v1/contact_analytics/search", **search)
    assert answer.json == {"recordings": [], "meta": {"page": 1, "pageSize": 10, "rowCount": 0}}


def test_latest_and_pages_by_query_parameters(http: Http, customer: str) -> None:
    store_events(http, customer, 5)
    search = {"customer_id": customer, "user_id": "user", "lead_id": "l1", "recording_id": ["a", "b"]}
    latest = http.search("/api/v1/lead_analytics/search", **search, latest="true").json
    assert [record["event_id"] for record in latest["recordings"]] == ["4", "3"]
    assert latest["meta"] == {"page": 1, "pageSize": 10, "rowCount": 2}
    page = http.search("/api/v1/lead_analytics/search", **search, page=2, pageSize=2).json
    assert [record["event_id"] for record in page["recordings"]] == ["2", "1"]
    assert page["meta"] == {"page": 2, "pageSize": 2, "rowCount": 5}
    past = http.search("/api/v1/lead_analytics/search", **search, page=9, latest="false").json
    assert past == {"recordings": [], "meta": {"page": 9, "pageSize": 10, "rowCount": 5}}


@pytest.mark.parametrize(
    "spelling", ["recording_id", "recording_id[]", "recording_id%5B%5D", "recording_id%5b%5d", "recording_id%5B]"]
)
def test_recordings_may_be_repeated_in_any_spelling(http: Http, customer: str, spelling: str) -> None:
    store_events(http, customer, 2)
    query = f"customer_id={customer.replace(' ', '+')}&user_id=user&{spelling}=a&lead_id=l1&{spelling}=b"
    answer = http("GET", f"/api/v1/lead_analytics/search?{query}")
    assert answer.json["meta"]["rowCount"] == 2


def test_a_json_search_takes_five_hundred_recordings(http: Http, customer: str) -> None:
    store_events(http, customer, 1)
    recordings = ["a", *(f"{number:036d}" for number in range(499))]
    search = {"customer_id": customer, "user_id": "user", "lead_id": "l1", "recording_id": recordings}
    answer = http.search("/api/v1/lead_analytics/search", **search)
    assert answer.status == 200
    assert answer.json["meta"]["rowCount"] == 1


def test_a_page_of_many_mebibytes_arrives_and_a_larger_one_is_refused(http: Http, customer: str) -> None:
    event = {**COMMON, "customer_id": customer, "lead_id": "l1", "message": "\U0001f600" * 65_536}
    for _ in range(65):
        assert http.post("/api/v1/lead_analytics", event).status == 201
    search = {"customer_id": customer, "user_id": "user", "lead_id": "l1", "recording_id": "recording"}
    page = http.search("/api/v1/lead_analytics/search", **search, pageSize=63)
    assert page.status == 200
    assert len(page.body) > 15 << 20
    assert {record["message"] for record in page.json["recordings"]} == {event["message"]}
    refused = http.search("/api/v1/lead_analytics/search", **search, pageSize=64)
    assert refused.status == 422
    assert refused.json["details"][0]["fieldViolations"][0]["field"] == "pageSize"


def test_every_character_arrives_as_it_was_sent(http: Http, customer: str) -> None:
    characters = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    # The first planes, and the tags, of which some take twelve bytes in JSON.
    spans = [characters[start : start + 60_000] for start in (0, 60_000, 0xE0000 - 2048)]
    for span in spans:
        event = {**COMMON, "customer_id": customer, "lead_id": "l1", "message": "".join(span)}
        assert http.post("/api/v1/lead_analytics", event).status == 201
    search = {"customer_id": customer, "user_id": "user", "lead_id": "l1", "recording_id": "recording"}
    page = http.search("/api/v1/lead_analytics/search", **search)
    found = [record["message"] for record in page.json["recordings"]]
    assert found == ["".join(span) for span in reversed(spans)]


def test_events_stored_by_json_are_found_by_grpc_and_vice_versa(http: Http, client: Client, customer: str) -> None:
    assert http.post("/api/v1/lead_analytics", {**COMMON, "customer_id": customer, "lead_id": "entity"}).status == 201
    found = client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=5)
    assert [record.message for record in found.recordings] == ["a message"]

    client.contacts.CreateContactAnalyticsEvent(requests.contact_event(customer, message="by gRPC"), timeout=5)
    search = {"customer_id": customer, "user_id": "user", "contact_id": "entity", "recording_id": "recording"}
    answer = http.search("/api/v1/contact_analytics/search", **search)
    assert [record["message"] for record in answer.json["recordings"]] == ["by gRPC"]
